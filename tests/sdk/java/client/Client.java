import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.*;
import io.dapr.serializer.DefaultObjectSerializer;
import io.dapr.utils.TypeRef;
import java.time.Instant;
import java.util.*;
import java.util.stream.Collectors;
import reactor.core.publisher.Flux;

/** Everything that DaprClient offers an app without a port. */
public final class Client {
  private static final String STORE = "statestore";
  private static final StateOptions FIRST_WRITE = new StateOptions(StateOptions.Consistency.STRONG, StateOptions.Concurrency.FIRST_WRITE);

  public static final class Box {
    public int n;
    public String note;

    public Box() {}

    Box(int n, String note) {
      this.n = n;
      this.note = note;
    }
  }

  private static List<Object> item(State<?> state) {
    return Arrays.asList(state.getKey(), state.getValue(), state.getEtag() != null, state.getError());
  }

  private static void state(DaprClient dapr) throws Exception {
    dapr.saveState(STORE, "greeting", "hello").block();
    dapr.saveState(STORE, "box", new Box(1, "ü")).block();
    dapr.saveState(STORE, "raw", "[7]".getBytes()).block();
    Report.say("string", item(dapr.getState(STORE, "greeting", String.class).block()));
    Report.say("box", item(dapr.getState(STORE, "box", Box.class).block()));
    Report.say("bytes", new String(dapr.getState(STORE, "raw", byte[].class).block().getValue()));
    Report.say("no JSON", Report.failure(() -> dapr.saveState(STORE, "raw", "bytes".getBytes()).block()));
    Report.say("missing", item(dapr.getState(STORE, "none", String.class).block()));
    String etag = dapr.getState(STORE, "box", Box.class).block().getEtag();
    Report.say("wrong etag", Report.failure(() -> dapr.saveState(STORE, "box", "7", new Box(2, ""), FIRST_WRITE).block()));
    Report.say("right etag", Report.failure(() -> dapr.saveState(STORE, "box", etag, new Box(3, ""), FIRST_WRITE).block()));
    Report.say("old etag", Report.failure(() -> dapr.deleteState(STORE, "box", etag, FIRST_WRITE).block()));
    List<State<?>> many = List.of(new State<>("k0", 0, null), new State<>("k1", new Box(1, "one"), (String) null));
    dapr.saveBulkState(STORE, many).block();
    Report.say("bulk", dapr.getBulkState(STORE, List.of("k0", "k1", "k9"), TypeRef.get(Object.class)).block().stream()
        .map(Client::item).sorted(Comparator.comparing(Object::toString)).collect(Collectors.toList()));
    dapr.executeStateTransaction(STORE, List.of(
        new TransactionalStateOperation<>(TransactionalStateOperation.OperationType.UPSERT, new State<>("greeting", "changed", (String) null)),
        new TransactionalStateOperation<>(TransactionalStateOperation.OperationType.DELETE, new State<>("k0")))).block();
    Report.say("transaction", Arrays.asList(dapr.getState(STORE, "greeting", String.class).block().getValue(),
        dapr.getState(STORE, "k0", Integer.class).block().getValue()));
    Report.say("transaction with a wrong etag", Report.failure(() -> dapr.executeStateTransaction(STORE, List.of(
        new TransactionalStateOperation<>(TransactionalStateOperation.OperationType.UPSERT, new State<>("greeting", "no", "7", FIRST_WRITE)))).block()));
    dapr.saveState(STORE, "brief", null, "b", Map.of("ttlInSeconds", "100"), null).block();
    Instant expires = Instant.parse(dapr.getState(STORE, "brief", String.class).block().getMetadata().get("ttlExpireTime"));
    Report.say("ttl", expires.isAfter(Instant.now()) && expires.isBefore(Instant.now().plusSeconds(101)));
    Report.say("bad ttl", Report.failure(() -> dapr.saveState(STORE, "brief", null, "b", Map.of("ttlInSeconds", "soon"), null).block()));
    dapr.deleteState(STORE, "greeting").block();
    Report.say("deleted", dapr.getState(STORE, "greeting", String.class).block().getValue());
    Report.say("no store", Report.failure(() -> dapr.getState("nowhere", "k", String.class).block()));
    Report.say("bad key", Report.failure(() -> dapr.saveState(STORE, "a||b", 1).block()));
    Report.say("no query", Report.failure(() -> ((DaprPreviewClient) dapr).queryState(STORE, "{}", String.class).block()));
  }

  private static void secretsAndBindings(DaprClient dapr) throws Exception {
    Report.say("secret", dapr.getSecret("secrets", "mqtt").block());
    Report.say("secrets", dapr.getBulkSecret("secrets").block());
    Report.say("no secret", Report.failure(() -> dapr.getSecret("secrets", "none").block()));
    Report.say("no secret store", Report.failure(() -> dapr.getSecret("nowhere", "none").block()));
    dapr.invokeBinding("files", "create", "some text!".getBytes(), Map.of("fileName", "note.txt")).block();
    Report.say("read", new String(dapr.invokeBinding("files", "get", new byte[0], Map.of("fileName", "note.txt")).block()));
    Report.say("no file", Report.failure(() -> dapr.invokeBinding("files", "get", new byte[0], Map.of("fileName", "none.txt")).block()));
    Report.say("bad operation", Report.failure(() -> dapr.invokeBinding("files", "fly", "").block()));
    Report.say("no binding", Report.failure(() -> dapr.invokeBinding("nowhere", "create", "").block()));
  }

  private static void publishing(DaprClient dapr) throws Exception {
    Report.say("published", Report.failure(() -> dapr.publishEvent("pubsub", "t", new Box(1, "x")).block()));
    Report.say("no pubsub", Report.failure(() -> dapr.publishEvent("nowhere", "t", "x").block()));
    BulkPublishResponse<Object> bulk = dapr.publishEvents("pubsub", "t", "application/json", List.<Object>of("a", new Box(2, "b"))).block();
    Report.say("bulk published", bulk.getFailedEntries().size());
    Report.say("bulk to no pubsub", Report.failure(() -> dapr.publishEvents("nowhere", "t", "text/plain", List.of("a")).block()));
  }

  private static void configuration(DaprClient dapr) throws Exception {
    Report.say("setting", Report.failure(() -> Arrays.asList(dapr.getConfiguration("settings", "colour").block().getValue(),
        dapr.getConfiguration("settings", "colour").block().getVersion())));
    Map<String, String> values = new TreeMap<>();
    dapr.getConfiguration("settings", "colour", "size", "none").block().forEach((key, found) -> values.put(key, found.getValue()));
    Report.say("settings", values);
    Report.say("no settings", Report.failure(() -> dapr.getConfiguration("nowhere", "colour").block()));
    SubscribeConfigurationResponse first = dapr.subscribeConfiguration("settings", "colour").blockFirst();
    Report.say("watched", first.getItems().keySet());
    UnsubscribeConfigurationResponse left = dapr.unsubscribeConfiguration(first.getSubscriptionId(), "settings").block();
    Report.say("unwatched twice", List.of(left.getIsUnsubscribed(), Report.failure(
        () -> dapr.unsubscribeConfiguration("none", "settings").block().getIsUnsubscribed())));
  }

  private static void locks(DaprPreviewClient dapr) throws Exception {
    Report.say("lock", List.of(dapr.tryLock("locks", "door", "ann", 60).block(), dapr.tryLock("locks", "door", "bob", 60).block()));
    List<Object> statuses = new ArrayList<>();
    for (String owner : List.of("bob", "ann", "ann")) {
      statuses.add(dapr.unlock("locks", "door", owner).block());
    }
    Report.say("unlock", statuses);
    Report.say("no lock store", Report.failure(() -> dapr.tryLock("nowhere", "door", "ann", 60).block()));
  }

  private static byte[] joined(Flux<byte[]> pieces) {
    java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
    pieces.toIterable().forEach(out::writeBytes);
    return out.toByteArray();
  }

  private static void crypto(DaprPreviewClient dapr) throws Exception {
    byte[] plain = "a secret ".repeat(20000).getBytes();
    byte[] secret = joined(dapr.encrypt(new EncryptRequestAlpha1("keys", Flux.just(plain), "rsa", "RSA")));
    Report.say("encrypted", new String(secret, 0, 12));
    Report.say("decrypted", Arrays.equals(plain, joined(dapr.decrypt(new DecryptRequestAlpha1("keys", Flux.just(secret))))));
    Report.say("no key", Report.failure(() -> joined(dapr.encrypt(new EncryptRequestAlpha1("keys", Flux.just(plain), "none", "RSA")))));
    Report.say("damaged", Report.failure(() -> joined(dapr.decrypt(new DecryptRequestAlpha1("keys", Flux.just(plain))))));
  }

  private static void conversation(DaprPreviewClient dapr) throws Exception {
    ConversationTools tool = new ConversationTools(new ConversationToolsFunction("weather", Map.of("type", "object")).setDescription("d"));
    List<ConversationMessage> said = List.of(new SystemMessage(List.of(new ConversationMessageContent("be brief"))),
        new UserMessage(List.of(new ConversationMessageContent("hello"))));
    ConversationRequestAlpha2 request = new ConversationRequestAlpha2("echo", List.of(new ConversationInputAlpha2(said))).setTemperature(1);
    Report.say("conversed", Report.failure(() -> told(dapr.converseAlpha2(request).block())));
    Report.say("tools", Report.failure(() -> told(dapr.converseAlpha2(request.setTools(List.of(tool)).setToolChoice("auto")).block())));
    Report.say("no model", Report.failure(() -> told(dapr.converseAlpha2(
        new ConversationRequestAlpha2("nowhere", List.of(new ConversationInputAlpha2(said)))).block())));
  }

  private static Object told(ConversationResponseAlpha2 response) {
    return response.getOutputs().stream().flatMap(output -> output.getChoices().stream()).map(choice -> {
      ConversationResultMessage message = choice.getMessage();
      List<Object> calls = message.getToolCalls() == null ? List.of() : message.getToolCalls().stream()
          .<Object>map(call -> List.of(call.getFunction().getName(), call.getFunction().getArguments())).collect(Collectors.toList());
      return Arrays.asList(choice.getIndex(), choice.getFinishReason(), message.getContent(), calls);
    }).collect(Collectors.toList());
  }

  private static void metadata(DaprClient dapr) throws Exception {
    DaprMetadata found = dapr.getMetadata().block();
    Report.say("metadata", Arrays.asList(found.getId(), found.getAttributes(), found.getActors().size(), found.getHttpEndpoints().size(),
        found.getSubscriptions().size(), found.getAppConnectionProperties().getPort()));
    Report.say("components", found.getComponents().stream().map(ComponentMetadata::getName).sorted().collect(Collectors.toList()));
  }

  public static void main(String[] args) {
    Report.program(() -> {
      DaprClientBuilder builder = new DaprClientBuilder().withObjectSerializer(new DefaultObjectSerializer());
      DaprClient dapr = builder.build();
      DaprPreviewClient preview = builder.buildPreviewClient();
      dapr.waitForSidecar(10_000).block();
      state((DaprClient) preview);
      secretsAndBindings(dapr);
      publishing(dapr);
      configuration(dapr);
      locks(preview);
      crypto(preview);
      conversation(preview);
      metadata(dapr);
      Report.say("shutdown", Report.failure(() -> dapr.shutdown().block()));
    });
  }
}
