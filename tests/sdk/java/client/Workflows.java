import io.dapr.durabletask.CompositeTaskFailedException;
import io.dapr.durabletask.Task;
import io.dapr.durabletask.TaskCanceledException;
import io.dapr.durabletask.TaskFailedException;
import io.dapr.workflows.Workflow;
import io.dapr.workflows.WorkflowActivity;
import io.dapr.workflows.WorkflowActivityContext;
import io.dapr.workflows.WorkflowContext;
import io.dapr.workflows.WorkflowStub;
import io.dapr.workflows.WorkflowTaskOptions;
import io.dapr.workflows.WorkflowTaskRetryPolicy;
import io.dapr.workflows.client.DaprWorkflowClient;
import io.dapr.workflows.client.NewWorkflowOptions;
import io.dapr.workflows.client.WorkflowState;
import io.dapr.workflows.runtime.WorkflowRuntime;
import io.dapr.workflows.runtime.WorkflowRuntimeBuilder;
import java.time.Duration;
import java.time.Instant;
import java.util.*;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** Workflows as users of the Java SDK write them. */
public final class Workflows {
  private static final List<String> undone = new CopyOnWriteArrayList<>();
  private static final AtomicInteger left = new AtomicInteger(20);
  private static final AtomicInteger tries = new AtomicInteger();
  private static final Duration LONG = Duration.ofSeconds(60);

  public static final class AddOne implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext ctx) {
      return ctx.getInput(Integer.class) + 1;
    }
  }

  public static final class Book implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext ctx) {
      String what = ctx.getInput(String.class);
      if (what.equals("car")) {
        throw new IllegalStateException("no car left");
      }
      return what;
    }
  }

  public static final class Cancel implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext ctx) {
      undone.add(ctx.getInput(String.class));
      return null;
    }
  }

  public static final class Count implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext ctx) {
      return left.decrementAndGet();
    }
  }

  public static final class Flaky implements WorkflowActivity {
    @Override
    public Object run(WorkflowActivityContext ctx) {
      if (tries.incrementAndGet() % 3 != 0) {
        throw new IllegalStateException("not yet");
      }
      return "after 3";
    }
  }

  public static final class Chain implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        int number = ctx.getInput(Integer.class);
        for (int i = 0; i < 5; i++) {
          number = ctx.callActivity(AddOne.class.getCanonicalName(), number, Integer.class).await();
        }
        ctx.complete(number);
      };
    }
  }

  public static final class Fan implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        List<Task<Integer>> tasks = new ArrayList<>();
        for (int n = 1; n <= 100; n++) {
          tasks.add(ctx.callActivity(AddOne.class.getCanonicalName(), n, Integer.class));
        }
        ctx.complete(ctx.allOf(tasks).await().stream().mapToInt(Integer::intValue).sum());
      };
    }
  }

  public static final class Monitor implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        ctx.setCustomStatus("round");
        if (ctx.callActivity(Count.class.getCanonicalName(), Integer.class).await() <= 0) {
          ctx.complete("healthy");
          return;
        }
        ctx.createTimer(Duration.ofMillis(5)).await();
        ctx.continueAsNew(null);
      };
    }
  }

  public static final class Approval implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        try {
          Duration limit = Duration.ofMillis(ctx.getInput(Integer.class));
          ctx.complete(ctx.waitForExternalEvent("decision", limit, String.class).await());
        } catch (TaskCanceledException late) {
          ctx.complete("too late");
        }
      };
    }
  }

  public static final class First implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        Task<String> one = ctx.waitForExternalEvent("one", String.class);
        Task<String> two = ctx.waitForExternalEvent("two", String.class);
        Task<?> first = ctx.anyOf(one, two).await();
        ctx.complete(first == two ? "two " + two.await() : "one " + one.await());
      };
    }
  }

  public static final class Saga implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        Deque<String> done = new ArrayDeque<>();
        try {
          for (String what : List.of("flight", "hotel", "car")) {
            done.push(ctx.callActivity(Book.class.getCanonicalName(), what, String.class).await());
          }
          ctx.complete("booked");
        } catch (TaskFailedException failed) {
          while (!done.isEmpty()) {
            ctx.callActivity(Cancel.class.getCanonicalName(), done.pop()).await();
          }
          ctx.complete(failed.getErrorDetails().getErrorType() + ": " + failed.getErrorDetails().getErrorMessage());
        }
      };
    }
  }

  public static final class Parent implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        int named = ctx.callChildWorkflow(Chain.class.getCanonicalName(), 10, ctx.getInstanceId() + "-child", Integer.class).await();
        List<Task<Integer>> more = List.of(ctx.callChildWorkflow(Chain.class.getCanonicalName(), 1, Integer.class),
            ctx.callChildWorkflow(Chain.class.getCanonicalName(), 2, Integer.class));
        ctx.complete(List.of(named, ctx.allOf(more).await()));
      };
    }
  }

  public static final class Rounds implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        int sum = ctx.getInput(Integer.class);
        if (sum >= 10) {
          ctx.complete(sum);
          return;
        }
        ctx.continueAsNew(sum + ctx.waitForExternalEvent("more", Integer.class).await(), true);
      };
    }
  }

  public static final class Retrying implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        WorkflowTaskRetryPolicy policy = WorkflowTaskRetryPolicy.newBuilder().setMaxNumberOfAttempts(4)
            .setFirstRetryInterval(Duration.ofMillis(10)).setBackoffCoefficient(2.0).setMaxRetryInterval(Duration.ofSeconds(1)).build();
        String first = ctx.callActivity(Flaky.class.getCanonicalName(), null, new WorkflowTaskOptions(policy), String.class).await();
        WorkflowTaskOptions handler = new WorkflowTaskOptions(context -> context.getLastAttemptNumber() < 5 && context.getLastFailure().getErrorMessage().equals("not yet"));
        String second = ctx.callActivity(Flaky.class.getCanonicalName(), null, handler, String.class).await();
        WorkflowTaskRetryPolicy twice = WorkflowTaskRetryPolicy.newBuilder().setMaxNumberOfAttempts(2).setFirstRetryInterval(Duration.ofMillis(10)).build();
        try {
          ctx.callActivity(Book.class.getCanonicalName(), "car", new WorkflowTaskOptions(twice), String.class).await();
        } catch (TaskFailedException spent) {
          ctx.complete(List.of(first, second, spent.getErrorDetails().getErrorMessage()));
        }
      };
    }
  }

  public static final class Broken implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        throw new UnsupportedOperationException("broken on purpose");
      };
    }
  }

  public static final class Several implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        List<Task<String>> all = List.of(ctx.callActivity(Book.class.getCanonicalName(), "car", String.class), ctx.callActivity(Book.class.getCanonicalName(), "hotel", String.class));
        try {
          ctx.allOf(all).await();
        } catch (CompositeTaskFailedException failed) {
          ctx.complete(failed.getExceptions().size());
        }
      };
    }
  }

  /** What only depends on the history: names, ids, the clock. */
  public static final class Same implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> {
        UUID before = ctx.newUuid();
        Instant then = ctx.getCurrentInstant();
        boolean patched = ctx.isPatched("p1");
        ctx.callActivity(AddOne.class.getCanonicalName(), 1, Integer.class).await();
        ctx.complete(List.of(before.equals(ctx.newUuid()), !ctx.getCurrentInstant().isBefore(then), patched, ctx.isPatched("p1"), ctx.isPatched("p2")));
      };
    }
  }

  public static final class Old implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> ctx.complete("old");
    }
  }

  public static final class New implements Workflow {
    @Override
    public WorkflowStub create() {
      return ctx -> ctx.complete("new");
    }
  }

  private static DaprWorkflowClient client;

  private static List<Object> outcome(String id) throws Exception {
    WorkflowState state = client.waitForWorkflowCompletion(id, LONG, true);
    return Arrays.asList(state.getRuntimeStatus().name(), state.getSerializedOutput());
  }

  private static List<Object> ran(Class<? extends Workflow> workflow, Object input) throws Exception {
    return outcome(client.scheduleNewWorkflow(workflow, input));
  }

  private static void patterns() throws Exception {
    Report.say("chain", ran(Chain.class, 1));
    Report.say("fan", ran(Fan.class, null));
    Report.say("monitor", ran(Monitor.class, null));
    Report.say("timeout", ran(Approval.class, 100));
    Report.say("saga", List.of(ran(Saga.class, null), undone));
    Report.say("children", ran(Parent.class, null));
    Report.say("retries", ran(Retrying.class, null));
    Report.say("several", ran(Several.class, null));
    Report.say("same", ran(Same.class, null));
    Report.say("versions", ran(New.class, null));
    Report.say("old version", outcome(client.scheduleNewWorkflow("Versioned", new NewWorkflowOptions().setVersion("v1"))));
    Report.say("latest version", outcome(client.scheduleNewWorkflow("Versioned", new NewWorkflowOptions())));
    WorkflowState broken = client.waitForWorkflowCompletion(client.scheduleNewWorkflow(Broken.class), LONG, true);
    Report.say("broken", Arrays.asList(broken.getRuntimeStatus().name(), broken.getFailureDetails().getErrorType(), broken.getFailureDetails().getErrorMessage(),
        broken.getFailureDetails().getStackTrace().contains("Workflows")));
  }

  private static void events() throws Exception {
    String approval = client.scheduleNewWorkflow(Approval.class, 60_000);
    client.waitForWorkflowStart(approval, LONG, false);
    client.raiseEvent(approval, "decision", "yes");
    Report.say("approved", outcome(approval));
    String first = client.scheduleNewWorkflow(First.class);
    client.raiseEvent(first, "two", "plums");
    Report.say("first", outcome(first));
    String rounds = client.scheduleNewWorkflow(Rounds.class, 0);
    for (int n = 1; n <= 4; n++) {
      client.raiseEvent(rounds, "more", n);
    }
    Report.say("rounds", outcome(rounds));
    Instant start = Instant.now().plusMillis(400);
    String later = client.scheduleNewWorkflow(Chain.class.getCanonicalName(), new NewWorkflowOptions().setInstanceId("later").setInput(1).setStartTime(start));
    Report.say("later", List.of(later, outcome(later), Instant.now().isAfter(start)));
  }

  private static void life() throws Exception {
    String id = client.scheduleNewWorkflow(Approval.class, 60_000, "life");
    client.waitForWorkflowStart(id, LONG, false);
    WorkflowState state = client.getWorkflowState(id, true);
    Report.say("started", List.of(state.getName(), state.getWorkflowId(), state.getRuntimeStatus().name(), state.getSerializedInput(), state.isRunning()));
    Report.say("twice", Report.failure(() -> client.scheduleNewWorkflow(Approval.class, 1, "life")));
    client.suspendWorkflow(id, "tea");
    Report.say("paused", client.getWorkflowState(id, false).getRuntimeStatus().name());
    client.resumeWorkflow(id, "on");
    Report.say("resumed", client.getWorkflowState(id, false).getRuntimeStatus().name());
    Report.say("not purged", Report.failure(() -> client.purgeWorkflow(id)));
    client.terminateWorkflow(id, "enough");
    Report.say("terminated", outcome(id));
    Report.say("purged", List.of(client.purgeWorkflow(id), client.purgeWorkflow("later"), String.valueOf(client.getWorkflowState(id, false))));
    Report.say("purged twice", Report.failure(() -> client.purgeWorkflow(id)));
    Report.say("event for nobody", Report.failure(() -> {
      client.raiseEvent("nobody", "decision", "yes");
      return "raised";
    }));
    Report.say("again", outcome(client.scheduleNewWorkflow(Approval.class, 50, "life")));
  }

  public static void main(String[] args) {
    Report.program(() -> {
      WorkflowRuntimeBuilder builder = new WorkflowRuntimeBuilder();
      for (Class<? extends Workflow> one : List.of(Chain.class, Fan.class, Monitor.class, Approval.class, First.class, Saga.class, Parent.class, Rounds.class,
          Retrying.class, Broken.class, Several.class, Same.class, New.class)) {
        builder.registerWorkflow(one);
      }
      builder.registerWorkflow("Versioned", Old.class, "v1", false).registerWorkflow("Versioned", New.class, "v2", true);
      builder.registerActivity(AddOne.class).registerActivity(Book.class).registerActivity(Cancel.class).registerActivity(Flaky.class).registerActivity(Count.class);
      WorkflowRuntime runtime = builder.build();
      runtime.start(false);
      client = new DaprWorkflowClient();
      patterns();
      events();
      life();
      client.close();
    });
  }
}
