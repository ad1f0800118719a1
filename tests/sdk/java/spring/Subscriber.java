import com.fasterxml.jackson.databind.JsonNode;
import io.dapr.Rule;
import io.dapr.Topic;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.*;
import io.dapr.springboot.annotations.BulkSubscribe;
import io.dapr.utils.TypeRef;
import java.util.*;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.*;
import reactor.core.publisher.Mono;

/** A Spring Boot app: topics by annotation, routes, retries, dead letters, bulk, raw payloads, input binding, job, being called. */
@SpringBootApplication(scanBasePackageClasses = {io.dapr.springboot.DaprController.class})
@RestController
public class Subscriber {
  private static final List<List<Object>> seen = new CopyOnWriteArrayList<>();
  private static final AtomicInteger tries = new AtomicInteger();
  private static final AtomicInteger bound = new AtomicInteger();

  public static final class Box {
    public int size;
  }

  private static void saw(Object... what) {
    seen.add(Arrays.asList(what));
  }

  @Topic(name = "plain", pubsubName = "pubsub")
  @PostMapping("/plain")
  public Mono<Void> plain(@RequestBody(required = false) CloudEvent<String> event) {
    return Mono.fromRunnable(() -> saw("plain", event.getData(), event.getDatacontenttype(), event.getType(), event.getSource(), event.getSpecversion(),
        event.getPubsubName(), event.getTopic(), event.getTraceParent() != null, event.getTime() != null));
  }

  @Topic(name = "boxes", pubsubName = "${pubsub:pubsub}")
  @PostMapping("/boxes")
  public void boxes(@RequestBody CloudEvent<Box> event) {
    saw("box", event.getData().size, event.getDatacontenttype());
  }

  @Topic(name = "bytes", pubsubName = "pubsub")
  @PostMapping("/bytes")
  public void bytes(@RequestBody CloudEvent<byte[]> event) {
    byte[] data = event.getData() == null ? event.getBinaryData() : event.getData();
    saw("bytes", Base64.getEncoder().encodeToString(data), event.getDatacontenttype());
  }

  @Topic(name = "fickle", pubsubName = "pubsub")
  @PostMapping("/fickle")
  public ResponseEntity<Map<String, String>> fickle(@RequestBody CloudEvent<String> event) {
    switch (tries.incrementAndGet()) {
      case 1:
        return ResponseEntity.status(HttpStatus.INTERNAL_SERVER_ERROR).build();
      case 2:
        return ResponseEntity.ok(Map.of("status", "RETRY"));
      default:
        saw("fickle", event.getData());
        return ResponseEntity.ok(Map.of("status", "SUCCESS"));
    }
  }

  @Topic(name = "unwanted", pubsubName = "pubsub", deadLetterTopic = "dead")
  @PostMapping("/unwanted")
  public Map<String, String> unwanted(@RequestBody CloudEvent<String> event) {
    saw("unwanted", event.getData());
    return Map.of("status", "DROP");
  }

  @Topic(name = "dead", pubsubName = "pubsub")
  @PostMapping("/dead")
  public void dead(@RequestBody CloudEvent<String> event) {
    saw("dead", event.getData(), event.getTopic());
  }

  @Topic(name = "routed", pubsubName = "pubsub")
  @PostMapping("/other")
  public void other(@RequestBody CloudEvent<Box> event) {
    saw("other", event.getData().size);
  }

  @Topic(name = "routed", pubsubName = "pubsub", rule = @Rule(match = "event.data.size > 10", priority = 1))
  @PostMapping("/big")
  public void big(@RequestBody CloudEvent<Box> event) {
    saw("big", event.getData().size);
  }

  @Topic(name = "raw", pubsubName = "pubsub", metadata = "{\"rawPayload\":\"true\"}")
  @PostMapping("/raw")
  public void raw(@RequestBody JsonNode event) {
    saw("raw", new String(Base64.getDecoder().decode(event.get("data_base64").asText())), event.get("datacontenttype").asText(), event.get("type").asText());
  }

  @BulkSubscribe(maxMessagesCount = 10, maxAwaitDurationMs = 50)
  @Topic(name = "bulky", pubsubName = "pubsub")
  @PostMapping("/bulky")
  public BulkSubscribeAppResponse bulky(@RequestBody BulkSubscribeMessage<CloudEvent<String>> bulk) {
    List<BulkSubscribeAppResponseEntry> answers = new ArrayList<>();
    for (BulkSubscribeMessageEntry<?> entry : bulk.getEntries()) {
      CloudEvent<?> event = (CloudEvent<?>) entry.getEvent();
      saw("bulky", event.getData(), entry.getContentType(), event.getDatacontenttype());
      answers.add(new BulkSubscribeAppResponseEntry(entry.getEntryId(), BulkSubscribeAppResponseStatus.SUCCESS));
    }
    return new BulkSubscribeAppResponse(answers);
  }

  @PostMapping("/ticker")
  public void ticker() {
    bound.incrementAndGet();
  }

  @PostMapping("/job/{name}")
  public void job(@PathVariable("name") String name, @RequestBody(required = false) String body, @RequestHeader("content-type") String type) {
    saw("job", name, body, type);
  }

  @PostMapping("/echo/{rest}")
  public List<String> echo(@PathVariable("rest") String rest, @RequestParam Map<String, String> query, @RequestBody(required = false) String body,
      @RequestHeader(value = "x-jar", required = false) String jar) {
    return Arrays.asList(rest, query.toString(), body, jar);
  }

  private static List<List<Object>> taken(int count) throws Exception {
    Report.until(() -> seen.size() >= count);
    List<List<Object>> all = new ArrayList<>(seen);
    all.sort(Comparator.comparing(Object::toString));
    seen.clear();
    return all;
  }

  private static void steps(DaprClient dapr, DaprPreviewClient preview) throws Exception {
    dapr.publishEvent("pubsub", "plain", "hällo").block();
    Report.say("plain", taken(1));
    CloudEvent<String> event = new CloudEvent<>("id-7", "shed", "tool", "1.0", "application/json", "an event");
    dapr.publishEvent(new PublishEventRequest("pubsub", "plain", event).setContentType(CloudEvent.CONTENT_TYPE)).block();
    Report.say("event", taken(1));
    dapr.publishEvent("pubsub", "boxes", Map.of("size", 3)).block();
    Report.say("box", taken(1));
    dapr.publishEvent(new PublishEventRequest("pubsub", "bytes", new byte[] {0, 1, -1}).setContentType("application/octet-stream")).block();
    Report.say("bytes", taken(1));
    dapr.publishEvent("pubsub", "fickle", "f").block();
    dapr.publishEvent("pubsub", "unwanted", "u").block();
    Report.say("again and dead", List.of(taken(3), tries.get()));
    dapr.publishEvent("pubsub", "routed", Map.of("size", 20)).block();
    dapr.publishEvent("pubsub", "routed", Map.of("size", 2)).block();
    Report.say("routed", taken(2));
    dapr.publishEvent(new PublishEventRequest("pubsub", "raw", "as is").setMetadata(Map.of("rawPayload", "true"))).block();
    Report.say("raw", taken(1));
    preview.publishEvents("pubsub", "bulky", "application/json", List.of("a", "b", "c")).block();
    Report.say("bulk", taken(3));
    HttpExtension how = new HttpExtension(io.dapr.client.DaprHttp.HttpMethods.POST, Map.of("n", List.of("1")), Map.of("x-jar", "small"));
    Report.say("invoked", dapr.invokeMethod("sdk", "echo/plum jam", Map.of("a", 1), how, TypeRef.get(List.class)).block());
    preview.scheduleJob(new ScheduleJobRequest("knead", java.time.Instant.now()).setData("{\"dough\":1}".getBytes())).block();
    Report.say("job", taken(1));
    Report.until(() -> bound.get() >= 1);
    Report.say("bound", true);
    Report.say("health", dapr.getMetadata().block().getSubscriptions().size());
  }

  public static void main(String[] args) {
    Report.program(() -> {
      SpringApplication app = new SpringApplication(Subscriber.class);
      app.setLogStartupInfo(false);
      app.run("--server.port=" + Report.port("APP_PORT"), "--server.address=127.0.0.1", "--spring.main.banner-mode=off", "--logging.level.root=warn");
      DaprClientBuilder builder = new DaprClientBuilder();
      DaprClient dapr = builder.build();
      dapr.waitForSidecar(20_000).block();
      Report.until(() -> dapr.getMetadata().block().getSubscriptions().size() == 9);
      steps(dapr, builder.buildPreviewClient());
    });
  }
}
