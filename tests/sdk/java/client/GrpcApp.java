import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Empty;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.HttpExtension;
import io.dapr.client.domain.JobSchedule;
import io.dapr.client.domain.ScheduleJobRequest;
import io.dapr.v1.AppCallbackAlphaGrpc;
import io.dapr.v1.AppCallbackGrpc;
import io.dapr.v1.AppCallbackHealthCheckGrpc;
import io.dapr.v1.CommonProtos.InvokeRequest;
import io.dapr.v1.CommonProtos.InvokeResponse;
import io.dapr.v1.DaprAppCallbackProtos.*;
import io.grpc.ServerBuilder;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** A gRPC app on the SDK's generated services: subscriptions, routes, retries, dead letters, bulk, binding, invocation, jobs. */
public final class GrpcApp {
  private static final List<List<Object>> seen = new CopyOnWriteArrayList<>();
  private static final AtomicInteger tries = new AtomicInteger();
  private static final AtomicInteger bound = new AtomicInteger();
  private static final AtomicInteger healthy = new AtomicInteger();

  private static <T> void answer(StreamObserver<T> observer, T value) {
    observer.onNext(value);
    observer.onCompleted();
  }

  private static TopicSubscription.Builder topic(String name) {
    return TopicSubscription.newBuilder().setPubsubName("pubsub").setTopic(name);
  }

  private static final class Callbacks extends AppCallbackGrpc.AppCallbackImplBase {
    @Override
    public void listTopicSubscriptions(Empty nothing, StreamObserver<ListTopicSubscriptionsResponse> observer) {
      TopicRoutes routes = TopicRoutes.newBuilder().addRules(TopicRule.newBuilder().setMatch("event.data.size > 10").setPath("big")).setDefault("other").build();
      answer(observer, ListTopicSubscriptionsResponse.newBuilder().addSubscriptions(topic("plain")).addSubscriptions(topic("fickle"))
          .addSubscriptions(topic("unwanted").setDeadLetterTopic("dead")).addSubscriptions(topic("dead"))
          .addSubscriptions(topic("routed").setRoutes(routes))
          .addSubscriptions(topic("bulky").setBulkSubscribe(BulkSubscribeConfig.newBuilder().setEnabled(true).setMaxMessagesCount(10).setMaxAwaitDurationMs(50)))
          .build());
    }

    @Override
    public void onTopicEvent(TopicEventRequest event, StreamObserver<TopicEventResponse> observer) {
      if (event.getTopic().equals("fickle") && tries.incrementAndGet() < 3) {
        answer(observer, TopicEventResponse.newBuilder().setStatus(TopicEventResponse.TopicEventResponseStatus.RETRY).build());
        return;
      }
      seen.add(List.of(event.getTopic(), event.getPath(), event.getData().toStringUtf8(), event.getDataContentType(), event.getType(), event.getSource(),
          event.getPubsubName(), event.getExtensions().getFieldsMap().containsKey("traceparent")));
      boolean drop = event.getTopic().equals("unwanted");
      answer(observer, TopicEventResponse.newBuilder()
          .setStatus(drop ? TopicEventResponse.TopicEventResponseStatus.DROP : TopicEventResponse.TopicEventResponseStatus.SUCCESS).build());
    }

    @Override
    public void onInvoke(InvokeRequest request, StreamObserver<InvokeResponse> observer) {
      if (request.getMethod().equals("fail")) {
        observer.onError(Status.FAILED_PRECONDITION.withDescription("out of flour").asRuntimeException());
        return;
      }
      ByteString said = request.getData().getValue();
      String all = request.getMethod() + " " + request.getHttpExtension().getVerb() + " " + request.getHttpExtension().getQuerystring() + " "
          + request.getContentType() + " " + said.toStringUtf8();
      answer(observer, InvokeResponse.newBuilder().setContentType("text/plain").setData(Any.newBuilder().setValue(ByteString.copyFromUtf8(all))).build());
    }

    @Override
    public void listInputBindings(Empty nothing, StreamObserver<ListInputBindingsResponse> observer) {
      answer(observer, ListInputBindingsResponse.newBuilder().addBindings("ticker").build());
    }

    @Override
    public void onBindingEvent(BindingEventRequest event, StreamObserver<BindingEventResponse> observer) {
      bound.incrementAndGet();
      answer(observer, BindingEventResponse.getDefaultInstance());
    }

    @Override
    public void onBulkTopicEvent(TopicEventBulkRequest bulk, StreamObserver<TopicEventBulkResponse> observer) {
      answer(observer, taken(bulk));
    }

    static TopicEventBulkResponse taken(TopicEventBulkRequest bulk) {
      TopicEventBulkResponse.Builder all = TopicEventBulkResponse.newBuilder();
      for (TopicEventBulkRequestEntry entry : bulk.getEntriesList()) {
        seen.add(List.of(bulk.getTopic(), bulk.getPath(), entry.getCloudEvent().getData().toStringUtf8(), entry.getContentType()));
        all.addStatuses(TopicEventBulkResponseEntry.newBuilder().setEntryId(entry.getEntryId()).setStatus(TopicEventResponse.TopicEventResponseStatus.SUCCESS));
      }
      return all.build();
    }
  }

  private static final class Alpha extends AppCallbackAlphaGrpc.AppCallbackAlphaImplBase {
    @Override
    public void onBulkTopicEventAlpha1(TopicEventBulkRequest bulk, StreamObserver<TopicEventBulkResponse> observer) {
      answer(observer, Callbacks.taken(bulk));
    }

    @Override
    public void onJobEventAlpha1(JobEventRequest job, StreamObserver<JobEventResponse> observer) {
      seen.add(List.of("job", job.getName(), job.getMethod(), job.getData().getValue().toStringUtf8()));
      answer(observer, JobEventResponse.getDefaultInstance());
    }
  }

  private static final class Health extends AppCallbackHealthCheckGrpc.AppCallbackHealthCheckImplBase {
    @Override
    public void healthCheck(Empty nothing, StreamObserver<HealthCheckResponse> observer) {
      healthy.incrementAndGet();
      answer(observer, HealthCheckResponse.getDefaultInstance());
    }
  }

  private static List<List<Object>> taken(int count) throws Exception {
    Report.until(() -> seen.size() >= count);
    List<List<Object>> all = new ArrayList<>(seen);
    all.sort(Comparator.comparing(Object::toString));
    seen.clear();
    return all;
  }

  private static void steps(DaprClient dapr) throws Exception {
    dapr.publishEvent("pubsub", "plain", "hello").block();
    Report.say("plain", taken(1));
    dapr.publishEvent("pubsub", "fickle", "f").block();
    dapr.publishEvent("pubsub", "unwanted", "u").block();
    Report.say("again and dead", List.of(taken(3), tries.get()));
    dapr.publishEvent("pubsub", "routed", Map.of("size", 20)).block();
    dapr.publishEvent("pubsub", "routed", Map.of("size", 2)).block();
    Report.say("routed", taken(2));
    dapr.publishEvents("pubsub", "bulky", "application/json", List.of("a", "b", "c")).block();
    Report.say("bulk", taken(3));
    HttpExtension put = new HttpExtension(io.dapr.client.DaprHttp.HttpMethods.PUT, Map.of("n", List.of("1")), Map.of());
    Report.say("invoked", Report.failure(() -> new String(dapr.invokeMethod("sdk", "bake", "bread".getBytes(), put, Map.of()).block())));
    Report.say("fails", Report.failure(() -> dapr.invokeMethod("sdk", "fail", "x", HttpExtension.POST).block()));
    dapr.scheduleJob(new ScheduleJobRequest("knead", JobSchedule.fromPeriod(Duration.ofSeconds(1))).setData("dough".getBytes()).setRepeat(2)).block();
    Report.say("job", taken(2));
    Report.until(() -> bound.get() >= 1);
    Report.say("bound", true);
  }

  public static void main(String[] args) {
    Report.program(() -> {
      var server = ServerBuilder.forPort(Report.port("APP_PORT")).addService(new Callbacks()).addService(new Alpha()).addService(new Health()).build().start();
      DaprClient dapr = new DaprClientBuilder().build();
      dapr.waitForSidecar(20_000).block();
      Report.until(() -> dapr.getMetadata().block().getSubscriptions().size() == 6);
      steps(dapr);
      server.shutdownNow();
    });
  }
}
