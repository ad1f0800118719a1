import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.dapr.exceptions.DaprException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.logging.Level;
import java.util.logging.Logger;

/** What every program shares: a JSON line per step, and an end that the process does not outlive. */
final class Report {
  private static final ObjectMapper JSON = new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);

  private static final Logger SDK = Logger.getLogger("io.dapr");

  interface Step {
    void run() throws Exception;
  }

  static synchronized void say(String step, Object saw) throws Exception {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("step", step);
    line.put("saw", saw);
    System.out.println(JSON.writeValueAsString(line));
  }

  /** What the SDK throws: its error code, HTTP status, reason and message. */
  static Object failure(Callable<?> call) {
    try {
      return call.call();
    } catch (DaprException error) {
      String reason = error.getErrorDetails() == null ? null
          : error.getErrorDetails().get(io.dapr.exceptions.DaprErrorDetails.ErrorDetailType.ERROR_INFO, "reason", io.dapr.utils.TypeRef.STRING);
      return java.util.Arrays.asList(error.getErrorCode(), error.getHttpStatusCode(), reason, error.getMessage());
    } catch (Exception error) {
      return List.of(error.getClass().getSimpleName(), String.valueOf(error.getMessage()));
    }
  }

  static void until(Callable<Boolean> condition) throws Exception {
    while (!condition.call()) {
      Thread.sleep(5);
    }
  }

  /** Runs a program; servers and threads that the SDK leaves behind end with it. */
  static void program(Step steps) {
    SDK.setLevel(Level.WARNING);
    Thread limit = new Thread(() -> {
      try {
        Thread.sleep(40_000);
      } catch (InterruptedException ended) {
        return;
      }
      Runtime.getRuntime().halt(3);
    });
    limit.setDaemon(true);
    limit.start();
    int code = 0;
    try {
      steps.run();
    } catch (Throwable error) {
      error.printStackTrace();
      code = 1;
    }
    System.out.flush();
    Runtime.getRuntime().halt(code);
  }

  static int port(String name) {
    return Integer.parseInt(System.getenv(name));
  }

  private Report() {}
}
