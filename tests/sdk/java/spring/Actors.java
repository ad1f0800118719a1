import io.dapr.actors.ActorId;
import io.dapr.actors.ActorMethod;
import io.dapr.actors.ActorType;
import io.dapr.actors.client.ActorClient;
import io.dapr.actors.client.ActorProxy;
import io.dapr.actors.client.ActorProxyBuilder;
import io.dapr.actors.runtime.AbstractActor;
import io.dapr.actors.runtime.ActorRuntime;
import io.dapr.actors.runtime.ActorRuntimeContext;
import io.dapr.actors.runtime.Remindable;
import io.dapr.utils.TypeRef;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Actors that Spring Boot hosts and that proxies call: methods, state, turns, failures, timers, reminders, idle ends. */
@SpringBootApplication(scanBasePackageClasses = {io.dapr.springboot.DaprController.class})
public class Actors {
  private static final List<String> events = new CopyOnWriteArrayList<>();
  private static final AtomicInteger inside = new AtomicInteger();
  private static final AtomicInteger most = new AtomicInteger();

  public static final class Fire {
    public int degrees;
    public String fuel;

    public Fire() {}

    Fire(int degrees, String fuel) {
      this.degrees = degrees;
      this.fuel = fuel;
    }
  }

  @ActorType(name = "Oven")
  public interface Oven {
    @ActorMethod(name = "Heat", returns = Fire.class)
    Mono<Fire> heat(Fire more);

    @ActorMethod(returns = Boolean.class)
    Mono<Boolean> cool();

    String echo(String said);

    void slow();

    void burn();

    @ActorMethod(returns = Boolean.class)
    Mono<Boolean> halfway();

    void timer(boolean on);

    void tick(String with);

    void remind(boolean on);

    @ActorMethod(returns = Boolean.class)
    Mono<Boolean> brief();
  }

  public static final class OvenImpl extends AbstractActor implements Oven, Remindable<Fire> {
    public OvenImpl(ActorRuntimeContext<OvenImpl> context, ActorId id) {
      super(context, id);
    }

    @Override
    protected Mono<Void> onActivate() {
      return Mono.fromRunnable(() -> events.add("on " + getId()));
    }

    @Override
    protected Mono<Void> onDeactivate() {
      return Mono.fromRunnable(() -> events.add("off " + getId()));
    }

    @Override
    public Mono<Fire> heat(Fire more) {
      return getActorStateManager().contains("fire").flatMap(there -> there ? getActorStateManager().get("fire", TypeRef.get(Fire.class)) : Mono.just(new Fire(0, "")))
          .flatMap(now -> {
            Fire hotter = new Fire(now.degrees + more.degrees, more.fuel);
            return getActorStateManager().set("fire", hotter).thenReturn(hotter);
          });
    }

    @Override
    public Mono<Boolean> cool() {
      return getActorStateManager().remove("fire").thenReturn(true);
    }

    @Override
    public String echo(String said) {
      return getId() + " " + said;
    }

    @Override
    public void slow() {
      int now = inside.incrementAndGet();
      most.accumulateAndGet(now, Math::max);
      try {
        Thread.sleep(20);
      } catch (InterruptedException error) {
        throw new IllegalStateException(error);
      }
      inside.decrementAndGet();
    }

    @Override
    public void burn() {
      throw new IllegalStateException("burnt");
    }

    /** Sets state and fails: nothing of it may stay. */
    @Override
    public Mono<Boolean> halfway() {
      return getActorStateManager().set("fire", new Fire(999, "lost")).then(Mono.error(new IllegalStateException("half")));
    }

    @Override
    public void timer(boolean on) {
      if (on) {
        registerActorTimer("t", "tick", "coal", Duration.ofMillis(20), Duration.ofMillis(20)).block();
      } else {
        unregisterTimer("t").block();
      }
    }

    @Override
    public void tick(String with) {
      events.add("tick " + with);
    }

    @Override
    public void remind(boolean on) {
      if (on) {
        registerReminder("r", new Fire(7, "wood"), Duration.ofMillis(20), Duration.ofMillis(20)).block();
      } else {
        unregisterReminder("r").block();
      }
    }

    @Override
    public TypeRef<Fire> getStateType() {
      return TypeRef.get(Fire.class);
    }

    @Override
    public Mono<Void> receiveReminder(String name, Fire state, Duration due, Duration period) {
      return Mono.fromRunnable(() -> events.add("remind " + name + " " + state.degrees + " " + state.fuel + " " + period.toMillis()));
    }

    @Override
    public Mono<Boolean> brief() {
      return getActorStateManager().set("spark", "s").thenReturn(true);
    }
  }

  private static long count(String event) {
    return events.stream().filter(event::equals).count();
  }

  /** What a caller is told; Spring's own answer has the time in it. */
  private static String failure(Mono<?> call) {
    return String.valueOf(Report.failure(call::block)).replaceAll("\"timestamp\":\"[^\"]*\"", "at");
  }

  private static List<Object> fire(Fire fire) {
    return List.of(fire.degrees, fire.fuel);
  }

  private static void steps(ActorClient client) throws Exception {
    Oven oven = new ActorProxyBuilder<>(Oven.class, client).build(new ActorId("one"));
    ActorProxy proxy = new ActorProxyBuilder<>("Oven", ActorProxy.class, client).build(new ActorId("one"));
    Report.say("heat", List.of(fire(oven.heat(new Fire(2, "wood")).block()), fire(proxy.invokeMethod("Heat", new Fire(3, "coal"), Fire.class).block())));
    Report.say("echo", List.of(oven.echo("hällo"), proxy.invokeMethod("echo", "plain", String.class).block()));
    Flux.range(0, 5).flatMap(n -> proxy.invokeMethod("slow")).blockLast();
    Report.say("most at once", most.get());
    Report.say("burnt", failure(proxy.invokeMethod("burn")));
    Report.say("half", failure(proxy.invokeMethod("halfway")));
    Report.say("nothing of it", fire(oven.heat(new Fire(0, "ash")).block()));
    Report.say("no method", failure(proxy.invokeMethod("none")));
    oven.timer(true);
    Report.until(() -> count("tick coal") >= 3);
    oven.timer(false);
    oven.remind(true);
    Report.until(() -> events.stream().filter(event -> event.startsWith("remind")).count() >= 3);
    oven.remind(false);
    Report.say("called", events.stream().filter(event -> !event.endsWith(" one")).collect(Collectors.toCollection(TreeSet::new)));
    Report.say("cooled", List.of(oven.cool().block(), fire(oven.heat(new Fire(1, "gas")).block())));
    new ActorProxyBuilder<>(Oven.class, client).build(new ActorId("two")).brief().block();
    Report.until(() -> count("off one") >= 1 && count("off two") >= 1);
    Report.say("state outlives the idle end", fire(oven.heat(new Fire(1, "gas")).block()));
    Report.say("turned on again", count("on one") > 1);
  }

  public static void main(String[] args) {
    Report.program(() -> {
      ActorRuntime runtime = ActorRuntime.getInstance();
      runtime.getConfig().setActorIdleTimeout(Duration.ofSeconds(2)).setActorScanInterval(Duration.ofSeconds(1))
          .setDrainOngoingCallTimeout(Duration.ofSeconds(2)).setDrainBalancedActors(true);
      runtime.registerActor(OvenImpl.class);
      SpringApplication app = new SpringApplication(Actors.class);
      app.setLogStartupInfo(false);
      app.run("--server.port=" + Report.port("APP_PORT"), "--server.address=127.0.0.1", "--spring.main.banner-mode=off", "--logging.level.root=off");
      try (io.dapr.client.DaprClient dapr = new io.dapr.client.DaprClientBuilder().build()) {
        dapr.waitForSidecar(20_000).block();
        Report.until(() -> !dapr.getMetadata().block().getActors().isEmpty());
      }
      steps(new ActorClient());
    });
  }
}
