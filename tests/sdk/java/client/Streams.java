import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.Subscription;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.*;
import io.dapr.utils.TypeRef;
import java.util.*;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

/** Streaming subscriptions of DaprClient: listeners and Flux, every kind of payload, the answers that an app may give. */
public final class Streams {
  private static final String PUBSUB = "pubsub";
  private static final List<List<Object>> seen = new CopyOnWriteArrayList<>();

  private static final class Listener<T> implements SubscriptionListener<T> {
    private final AtomicInteger tries = new AtomicInteger();

    @Override
    public Mono<Status> onEvent(CloudEvent<T> event) {
      if (event.getTopic().equals("fickle") && tries.incrementAndGet() < 3) {
        return Mono.just(Status.RETRY);
      }
      Object data = event.getData() instanceof byte[] ? new String((byte[]) event.getData()) : event.getData();
      seen.add(Arrays.asList(event.getTopic(), data, event.getDatacontenttype(), event.getType(), event.getSpecversion(), event.getPubsubName()));
      return Mono.just(event.getTopic().equals("unwanted") ? Status.DROP : Status.SUCCESS);
    }

    @Override
    public void onError(RuntimeException error) {
      seen.add(List.of("error", String.valueOf(error.getMessage())));
    }
  }

  private static List<List<Object>> taken(int count) throws Exception {
    Report.until(() -> seen.size() >= count);
    List<List<Object>> all = new ArrayList<>(seen);
    all.sort(Comparator.comparing(Object::toString));
    seen.clear();
    return all;
  }

  private static void payloads(DaprClient dapr, DaprPreviewClient preview) throws Exception {
    dapr.publishEvent(PUBSUB, "text", "hällo").block();
    Report.say("text", taken(1));
    dapr.publishEvent(PUBSUB, "number", 42).block();
    Report.say("number", taken(1));
    dapr.publishEvent(PUBSUB, "box", Map.of("n", 1)).block();
    Report.say("box", taken(1));
    dapr.publishEvent(new PublishEventRequest(PUBSUB, "bytes", "\u0001\u0002".getBytes()).setContentType("application/octet-stream")).block();
    Report.say("bytes", taken(1));
    dapr.publishEvent(new PublishEventRequest(PUBSUB, "bytes", "plain".getBytes()).setContentType("text/plain")).block();
    Report.say("plain text", taken(1));
    CloudEvent<String> event = new CloudEvent<>("id-7", "shed", "tool", "1.0", "text/plain", "an event");
    dapr.publishEvent(new PublishEventRequest(PUBSUB, "bytes", event).setContentType(CloudEvent.CONTENT_TYPE)).block();
    Report.say("event", taken(1));
    dapr.publishEvent(PUBSUB, "text", "kept", Map.of("cloudevent.type", "mine", "cloudevent.source", "hand")).block();
    Report.say("event of metadata", taken(1));
    dapr.publishEvents(PUBSUB, "text", "application/json", "a", "b", "c").block();
    Report.say("bulk", taken(3));
  }

  private static void answers(DaprClient dapr, DaprPreviewClient preview) throws Exception {
    dapr.publishEvent(PUBSUB, "fickle", "f").block();
    dapr.publishEvent(PUBSUB, "unwanted", "u").block();
    Report.say("again and dropped", taken(2));
    Report.say("subscriptions", dapr.getMetadata().block().getSubscriptions().stream()
        .map(one -> one.getPubsubname() + " " + one.getTopic()).sorted().collect(Collectors.toList()));
  }

  private static void flux(DaprClient dapr, DaprPreviewClient preview) throws Exception {
    List<String> came = new CopyOnWriteArrayList<>();
    Disposable taking = preview.subscribeToTopic(PUBSUB, "flow", TypeRef.STRING).subscribe(came::add);
    List<String> raw = new CopyOnWriteArrayList<>();
    Disposable takingRaw = preview.subscribeToTopic(PUBSUB, "raw", TypeRef.STRING, Map.of("rawPayload", "true")).subscribe(raw::add);
    Report.until(() -> dapr.getMetadata().block().getSubscriptions().size() == 8);
    for (int n = 0; n < 3; n++) {
      dapr.publishEvent(PUBSUB, "flow", "drop " + n).block();
    }
    Report.until(() -> came.size() == 3);
    Report.say("flux", came);
    dapr.publishEvent(new PublishEventRequest(PUBSUB, "raw", "as is").setMetadata(Map.of("rawPayload", "true"))).block();
    Report.until(() -> raw.size() == 1);
    Report.say("raw", raw);
    taking.dispose();
    takingRaw.dispose();
    Report.until(() -> dapr.getMetadata().block().getSubscriptions().size() == 6);
  }

  public static void main(String[] args) {
    Report.program(() -> {
      DaprClientBuilder builder = new DaprClientBuilder();
      DaprClient dapr = builder.build();
      DaprPreviewClient preview = builder.buildPreviewClient();
      List<Subscription<?>> all = new ArrayList<>();
      for (String topic : List.of("text", "fickle", "unwanted")) {
        all.add(preview.subscribeToEvents(PUBSUB, topic, new Listener<>(), TypeRef.STRING));
      }
      all.add(preview.subscribeToEvents(PUBSUB, "number", new Listener<>(), TypeRef.INT));
      all.add(preview.subscribeToEvents(PUBSUB, "box", new Listener<>(), TypeRef.get(Map.class)));
      all.add(preview.subscribeToEvents(PUBSUB, "bytes", new Listener<>(), TypeRef.BYTE_ARRAY));
      Report.until(() -> dapr.getMetadata().block().getSubscriptions().size() == all.size());
      payloads(dapr, preview);
      answers(dapr, preview);
      flux(dapr, preview);
      for (Subscription<?> one : all) {
        one.close();
      }
    });
  }
}
