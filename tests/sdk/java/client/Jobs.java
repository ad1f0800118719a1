import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.*;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;

/** Jobs as DaprClient knows them; the app that they are for is elsewhere. */
public final class Jobs {
  private static Object shown(GetJobResponse job) {
    return Arrays.asList(job.getName(), job.getSchedule() == null ? null : job.getSchedule().getExpression(), job.getRepeats(),
        String.valueOf(job.getDueTime()), String.valueOf(job.getTtl()),
        job.getData() == null ? null : new String(job.getData()), job.getFailurePolicy() == null ? null : job.getFailurePolicy().getFailurePolicyType().name());
  }

  public static void main(String[] args) {
    Report.program(() -> {
      DaprClient dapr = new DaprClientBuilder().build();
      Instant far = Instant.parse("2099-01-02T03:04:05Z");
      dapr.scheduleJob(new ScheduleJobRequest("later", JobSchedule.daily()).setData("water".getBytes()).setRepeat(4).setTtl(far)
          .setDueTime(far.minusSeconds(86_400))).block();
      Report.say("later", shown(dapr.getJob(new GetJobRequest("later")).block()));
      dapr.scheduleJob(new ScheduleJobRequest("once", far).setData("{\"litres\":3}".getBytes()).setFailurePolicy(new DropFailurePolicy())).block();
      Report.say("once", shown(dapr.getJob(new GetJobRequest("once")).block()));
      ConstantFailurePolicy often = new ConstantFailurePolicy(3).setDurationBetweenRetries(Duration.ofSeconds(2));
      dapr.scheduleJob(new ScheduleJobRequest("often", JobSchedule.fromPeriod(Duration.ofHours(5))).setFailurePolicy(often)).block();
      Report.say("often", shown(dapr.getJob(new GetJobRequest("often")).block()));
      dapr.scheduleJob(new ScheduleJobRequest("cron", JobSchedule.fromString("0 30 * * * *"))).block();
      Report.say("cron", shown(dapr.getJob(new GetJobRequest("cron")).block()));
      Report.say("again", Report.failure(() -> dapr.scheduleJob(new ScheduleJobRequest("later", JobSchedule.hourly())).block()));
      Report.say("over", Report.failure(() -> dapr.scheduleJob(new ScheduleJobRequest("later", JobSchedule.hourly()).setOverwrite(true)).block()));
      Report.say("changed", shown(dapr.getJob(new GetJobRequest("later")).block()));
      Report.say("bad schedule", Report.failure(() -> dapr.scheduleJob(new ScheduleJobRequest("bad", JobSchedule.fromString("sometimes"))).block()));
      for (String name : new String[] {"later", "once", "often", "cron"}) {
        dapr.deleteJob(new DeleteJobRequest(name)).block();
      }
      Report.say("gone", Report.failure(() -> shown(dapr.getJob(new GetJobRequest("later")).block())));
      Report.say("deleted twice", Report.failure(() -> dapr.deleteJob(new DeleteJobRequest("later")).block()));
    });
  }
}
