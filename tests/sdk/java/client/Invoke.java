import com.google.protobuf.StringValue;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprHttp.HttpMethods;
import io.dapr.client.domain.HttpExtension;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.util.*;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Callable;

/** DaprClient calls apps behind other sidecars: verbs, queries, headers, failures, and their own gRPC services. */
public final class Invoke {
  /** A stub of the service jars.Jars, as generated code would have it. */
  private static final class Jars extends AbstractStub<Jars> {
    Jars(Channel channel) {
      super(channel, CallOptions.DEFAULT);
    }

    private Jars(Channel channel, CallOptions options) {
      super(channel, options);
    }

    @Override
    protected Jars build(Channel channel, CallOptions options) {
      return new Jars(channel, options);
    }

    private static MethodDescriptor<StringValue, StringValue> method(String name, MethodDescriptor.MethodType type) {
      return MethodDescriptor.<StringValue, StringValue>newBuilder().setType(type).setFullMethodName("jars.Jars/" + name)
          .setRequestMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
          .setResponseMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance())).build();
    }

    String one(String fruit) {
      return ClientCalls.blockingUnaryCall(getChannel(), method("One", MethodDescriptor.MethodType.UNARY), getCallOptions(), StringValue.of(fruit))
          .getValue();
    }

    List<String> many(String fruit) {
      List<String> found = new ArrayList<>();
      ClientCalls.blockingServerStreamingCall(getChannel(), method("Many", MethodDescriptor.MethodType.SERVER_STREAMING), getCallOptions(),
          StringValue.of(fruit)).forEachRemaining(one -> found.add(one.getValue()));
      return found;
    }

    List<String> chat(String... fruits) {
      List<String> found = new ArrayList<>();
      CompletableFuture<List<String>> ended = new CompletableFuture<>();
      var sending = ClientCalls.asyncBidiStreamingCall(
          getChannel().newCall(method("Chat", MethodDescriptor.MethodType.BIDI_STREAMING), getCallOptions()), new StreamObserver<StringValue>() {
            @Override
            public void onNext(StringValue value) {
              found.add(value.getValue());
            }

            @Override
            public void onError(Throwable error) {
              ended.completeExceptionally(error);
            }

            @Override
            public void onCompleted() {
              ended.complete(found);
            }
          });
      for (String fruit : fruits) {
        sending.onNext(StringValue.of(fruit));
      }
      sending.onCompleted();
      return ended.join();
    }
  }

  private static Object failure(Callable<?> call) {
    try {
      return call.call();
    } catch (DaprException error) {
      String payload = error.getPayload() == null ? null : new String(error.getPayload());
      return Arrays.asList(error.getErrorCode(), error.getHttpStatusCode(), error.getMessage(), payload);
    } catch (StatusRuntimeException error) {
      return List.of(error.getStatus().getCode().name(), String.valueOf(error.getStatus().getDescription()));
    } catch (Exception error) {
      return List.of(error.getClass().getSimpleName(), String.valueOf(error.getMessage()));
    }
  }

  private static void http(DaprClient dapr) throws Exception {
    Map<String, List<String>> query = new TreeMap<>(Map.of("n", List.of("1"), "m", List.of("x y", "ü")));
    for (HttpMethods verb : List.of(HttpMethods.GET, HttpMethods.POST, HttpMethods.PUT, HttpMethods.PATCH, HttpMethods.DELETE)) {
      HttpExtension how = new HttpExtension(verb, query, Map.of("x-jar", "small"));
      Report.say(verb.name(), failure(() -> dapr.invokeMethod("larder", "echo/a/b", "plum", how, TypeRef.get(List.class)).block()));
    }
    Report.say("object", failure(() -> dapr.invokeMethod("larder", "echo/a", Map.of("fruit", "plum"), HttpExtension.POST, TypeRef.get(List.class)).block()));
    Report.say("bytes", failure(() -> new String(dapr.invokeMethod("larder", "echo/a", "raw".getBytes(), HttpExtension.POST, Map.of("x-jar", "big")).block())));
    Report.say("nothing", failure(() -> dapr.invokeMethod("larder", "status/204", null, HttpExtension.POST).block()));
    Report.say("shed", failure(() -> dapr.invokeMethod("shed", "echo", Map.of("a", 1), HttpExtension.PUT, TypeRef.get(List.class)).block()));
    Report.say("loft", failure(() -> new String(dapr.invokeMethod("loft", "echo", "hello".getBytes(), HttpExtension.POST, Map.of()).block())));
    Report.say("barn", failure(() -> new String(dapr.invokeMethod("barn", "echo", "hello".getBytes(), HttpExtension.POST, Map.of()).block())));
    for (String code : List.of("202", "404", "418", "503")) {
      Report.say(code, failure(() -> new String(dapr.invokeMethod("larder", "status/" + code, "x".getBytes(), HttpExtension.POST, Map.of()).block())));
    }
    Report.say("app fails", failure(() -> dapr.invokeMethod("barn", "fail", "x", HttpExtension.POST).block()));
    Report.say("no such method", failure(() -> dapr.invokeMethod("loft", "nothing", "x", HttpExtension.POST).block()));
    Report.say("nobody", failure(() -> dapr.invokeMethod("nobody", "x", "x", HttpExtension.POST).block()));
  }

  private static void grpc(DaprClient dapr) throws Exception {
    Metadata headers = new Metadata();
    headers.put(Metadata.Key.of("x-jar", Metadata.ASCII_STRING_MARSHALLER), "small");
    Jars jars = dapr.newGrpcStub("loft", Jars::new).withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
    Report.say("proxied one", failure(() -> jars.one("plum")));
    Report.say("proxied many", failure(() -> jars.many("plum")));
    Report.say("proxied chat", failure(() -> jars.chat("plum", "pear")));
    Report.say("proxied failure", failure(() -> jars.one("stone")));
    Report.say("proxied to nobody", failure(() -> dapr.newGrpcStub("nobody", Jars::new).one("plum")));
  }

  public static void main(String[] args) {
    Report.program(() -> {
      DaprClient dapr = new DaprClientBuilder().build();
      http(dapr);
      grpc(dapr);
    });
  }
}
