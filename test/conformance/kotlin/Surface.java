// Every call that the published Kotlin SDK has, unchanged, from Java.
//
// Usage: Surface HOST:PORT API_KEY CHECK,CHECK...
//
// Prints one JSON line per check, as the scripts in Python do. Checks run in the order given, in one sandbox.

import com.alibaba.opensandbox.sandbox.Sandbox;
import com.alibaba.opensandbox.sandbox.SandboxManager;
import com.alibaba.opensandbox.sandbox.config.ConnectionConfig;
import com.alibaba.opensandbox.sandbox.domain.exceptions.SandboxApiException;
import com.alibaba.opensandbox.sandbox.domain.models.execd.executions.Execution;
import com.alibaba.opensandbox.sandbox.domain.models.execd.executions.ExecutionHandlers;
import com.alibaba.opensandbox.sandbox.domain.models.execd.executions.OutputMessage;
import com.alibaba.opensandbox.sandbox.domain.models.execd.executions.RunCommandRequest;
import com.alibaba.opensandbox.sandbox.domain.models.execd.filesystem.ContentReplaceEntry;
import com.alibaba.opensandbox.sandbox.domain.models.execd.filesystem.MoveEntry;
import com.alibaba.opensandbox.sandbox.domain.models.execd.filesystem.SearchEntry;
import com.alibaba.opensandbox.sandbox.domain.models.execd.filesystem.SetPermissionEntry;
import com.alibaba.opensandbox.sandbox.domain.models.execd.filesystem.WriteEntry;
import com.alibaba.opensandbox.sandbox.domain.models.sandboxes.SandboxFilter;
import com.alibaba.opensandbox.sandbox.domain.models.sandboxes.SandboxInfo;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.stream.Collectors;

public final class Surface {
  private static ConnectionConfig config;
  private static String domain;
  private static Sandbox sandbox;

  public static void main(String[] args) throws Exception {
    domain = args[0];
    config = ConnectionConfig.builder().domain(args[0]).apiKey(args[1]).requestTimeout(Duration.ofSeconds(60)).build();
    for (String name : args[2].split(",")) {
      Method check = Surface.class.getDeclaredMethod(name);
      try {
        check.invoke(null);
        System.out.println("{\"name\": \"" + name + "\", \"ok\": true}");
      } catch (InvocationTargetException error) {
        StringWriter trace = new StringWriter();
        error.getCause().printStackTrace(new PrintWriter(trace));
        System.out.println("{\"name\": \"" + name + "\", \"ok\": false, \"detail\": " + quote(trace.toString()) + "}");
      }
    }
    // The pool of connections has threads that would go on for minutes.
    System.exit(0);
  }

  static void check_create() {
    sandbox = Sandbox.builder()
        .image("host")
        .timeout(Duration.ofMinutes(10))
        .env("GREETING", "hello")
        .metadata("project", "kotlin")
        .resource(Map.of("cpu", "1", "memory", "512Mi"))
        .connectionConfig(config)
        .build();
    expect(sandbox.isHealthy(), true);
  }

  static void check_info() {
    SandboxInfo info = sandbox.getInfo();
    expect(info.getId(), sandbox.getId());
    expect(info.getStatus().getState(), "Running");
    expect(info.getEntrypoint(), List.of("tail", "-f", "/dev/null"));
    expect(info.getMetadata(), Map.of("project", "kotlin"));
    expect(info.getImage().getImage(), "host");
    expect(info.getExpiresAt().isAfter(OffsetDateTime.now().plusMinutes(9)), true);
    expect(info.getCreatedAt().isBefore(info.getExpiresAt()), true);
  }

  static void check_commands() {
    Execution done = sandbox.commands().run(RunCommandRequest.builder()
        .command("echo \"$GREETING\"; pwd; printf 'a\\342\\200\\250b\\n'; echo err >&2")
        .workingDirectory("/tmp")
        .build());
    expect(lines(done.getLogs().getStdout()), List.of("hello", "/tmp", "a\u2028b"));
    expect(lines(done.getLogs().getStderr()), List.of("err"));
    expect(done.getError(), null);
  }

  static void check_command_that_fails() {
    Execution done = sandbox.commands().run("echo before; exit 7");
    expect(lines(done.getLogs().getStdout()), List.of("before"));
    expect(done.getError().getName(), "CommandExecError");
    expect(done.getError().getValue(), "7");
  }

  static void check_handlers_see_it_as_it_happens() {
    List<String> seen = new ArrayList<>();
    sandbox.commands().run(RunCommandRequest.builder()
        .command("echo a; sleep 0.3; echo b >&2")
        .handlers(ExecutionHandlers.builder()
            .onInit(event -> seen.add("init"))
            .onStdout(event -> seen.add("stdout " + event.getText().trim()))
            .onStderr(event -> seen.add("stderr " + event.getText().trim()))
            .onExecutionComplete(event -> seen.add("complete"))
            .build())
        .build());
    expect(seen, List.of("init", "stdout a", "stderr b", "complete"));
  }

  static void check_background_command_is_interrupted() throws Exception {
    Execution run = sandbox.commands().run(
        RunCommandRequest.builder().command("exec sleep 4321").background(true).build());
    Objects.requireNonNull(run.getId());
    expect(lines(sandbox.commands().run("pgrep -fx 'sleep 4321' | wc -l").getLogs().getStdout()), List.of("1"));
    sandbox.commands().interrupt(run.getId());
    List<String> left = null;
    for (int i = 0; i < 50 && !List.of("0").equals(left); i++)
      left = lines(sandbox.commands().run("pgrep -fx 'sleep 4321' | wc -l; sleep 0.1").getLogs().getStdout());
    expect(left, List.of("0"));
  }

  static void check_files_are_written_and_read() throws Exception {
    byte[] bytes = new byte[70_000];
    for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) i;
    sandbox.files().createDirectories(List.of(WriteEntry.builder().path("/tmp/kt").mode(755).build()));
    sandbox.files().write(List.of(
        WriteEntry.builder().path("/tmp/kt/a.txt").data("alpha\nbeta\n").mode(644).build(),
        WriteEntry.builder().path("/tmp/kt/b.bin").data(bytes).mode(600).build()));
    sandbox.files().writeFile("/tmp/kt/ü.txt", "ü");
    expect(sandbox.files().readFile("/tmp/kt/a.txt"), "alpha\nbeta\n");
    expect(sandbox.files().readFile("/tmp/kt/ü.txt"), "ü");
    expect(sandbox.files().readFile("/tmp/kt/a.txt", "UTF-8", "bytes=0-4"), "alpha");
    expect(Arrays.equals(sandbox.files().readByteArray("/tmp/kt/b.bin"), bytes), true);
    try (InputStream stream = sandbox.files().readStream("/tmp/kt/b.bin")) {
      expect(Arrays.equals(stream.readAllBytes(), bytes), true);
    }
  }

  static void check_files_are_found_changed_moved_and_removed() {
    sandbox.files().replaceContents(List.of(ContentReplaceEntry.builder()
        .path("/tmp/kt/a.txt").oldContent("beta").newContent("gamma").build()));
    sandbox.files().setPermissions(List.of(SetPermissionEntry.builder()
        .path("/tmp/kt/a.txt").mode(640).owner("nobody").group("nogroup").build()));
    sandbox.files().moveFiles(List.of(MoveEntry.builder().src("/tmp/kt/a.txt").dest("/tmp/kt/c.txt").build()));
    var info = sandbox.files().readFileInfo(List.of("/tmp/kt/c.txt")).get("/tmp/kt/c.txt");
    expect(info.getSize(), (long) "alpha\ngamma\n".length());
    expect(List.of(info.getMode(), info.getOwner(), info.getGroup()), List.of(640, "nobody", "nogroup"));
    var found = sandbox.files().search(SearchEntry.builder().path("/tmp/kt").pattern("*.txt").build());
    expect(found.stream().map(entry -> entry.getPath()).sorted().collect(Collectors.toList()),
        List.of("/tmp/kt/c.txt", "/tmp/kt/ü.txt"));
    sandbox.files().deleteFiles(List.of("/tmp/kt/c.txt"));
    sandbox.files().deleteDirectories(List.of("/tmp/kt"));
    expectRefused(404, "FILE_NOT_FOUND", () -> sandbox.files().readFile("/tmp/kt/c.txt"));
  }

  static void check_metrics() {
    var metrics = sandbox.getMetrics();
    expect(metrics.getCpuCount(), 1f);
    expect(metrics.getMemoryTotalInMiB(), 512f);
    expect(metrics.getMemoryUsedInMiB() > 0 && metrics.getMemoryUsedInMiB() <= 512, true);
  }

  static void check_endpoint_leads_to_a_program() throws Exception {
    sandbox.commands().run(RunCommandRequest.builder()
        .command("cd /tmp && echo kt > page.txt && exec python3 -m http.server 8001")
        .background(true)
        .build());
    URL url = new URL("http://" + sandbox.getEndpoint(8001).getEndpoint() + "/page.txt");
    String text = "";
    for (int i = 0; i < 100 && !text.equals("kt\n"); i++) {
      HttpURLConnection connection = (HttpURLConnection) url.openConnection();
      if (connection.getResponseCode() == 200)
        text = new String(connection.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      else Thread.sleep(50);
    }
    expect(text, "kt\n");
  }

  static void check_manager_lists_by_state_and_metadata() {
    try (SandboxManager manager = SandboxManager.builder().connectionConfig(config).build()) {
      var page = manager.listSandboxInfos(
          SandboxFilter.builder().states("Running", "Paused").metadata(Map.of("project", "kotlin")).page(1).pageSize(50).build());
      expect(page.getSandboxInfos().stream().map(SandboxInfo::getId).collect(Collectors.toList()), List.of(sandbox.getId()));
      expect(page.getPagination().getTotalItems(), 1);
      expect(page.getPagination().getHasNextPage(), false);
      var none = manager.listSandboxInfos(SandboxFilter.builder().metadata(Map.of("project", "other")).build());
      expect(none.getSandboxInfos(), List.of());
      expect(manager.getSandboxInfo(sandbox.getId()).getStatus().getState(), "Running");
    }
  }

  static void check_renew() {
    sandbox.renew(Duration.ofHours(2));
    expect(sandbox.getInfo().getExpiresAt().isAfter(OffsetDateTime.now().plusMinutes(119)), true);
    try (SandboxManager manager = SandboxManager.builder().connectionConfig(config).build()) {
      manager.renewSandbox(sandbox.getId(), Duration.ofMinutes(30));
      expect(sandbox.getInfo().getExpiresAt().isBefore(OffsetDateTime.now().plusMinutes(31)), true);
    }
  }

  static void check_pause_and_resume() {
    sandbox.pause();
    expect(sandbox.getInfo().getStatus().getState(), "Paused");
    expectRefused(409, "DOCKER::SANDBOX_NOT_RUNNING", () -> sandbox.pause());
    sandbox.resume();
    expect(sandbox.getInfo().getStatus().getState(), "Running");
    expectRefused(409, "DOCKER::SANDBOX_NOT_PAUSED", () -> sandbox.resume());
    try (SandboxManager manager = SandboxManager.builder().connectionConfig(config).build()) {
      manager.pauseSandbox(sandbox.getId());
      manager.resumeSandbox(sandbox.getId());
    }
    sandbox.checkReady(Duration.ofSeconds(20), Duration.ofMillis(100));
    expect(lines(sandbox.commands().run("echo again").getLogs().getStdout()), List.of("again"));
  }

  static void check_connect_from_elsewhere() {
    try (Sandbox other = Sandbox.connector().sandboxId(sandbox.getId()).connectionConfig(config).connect()) {
      expect(lines(other.commands().run("hostname").getLogs().getStdout()), List.of(sandbox.getId().toString()));
    }
  }

  static void check_refusals_have_status_and_code() {
    try (SandboxManager manager = SandboxManager.builder().connectionConfig(config).build()) {
      UUID unknown = UUID.randomUUID();
      expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> manager.getSandboxInfo(unknown));
      expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> manager.killSandbox(unknown));
      expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> manager.pauseSandbox(unknown));
      expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> manager.renewSandbox(unknown, Duration.ofMinutes(5)));
    }
    ConnectionConfig wrong = ConnectionConfig.builder().domain(domain).apiKey("wrong").build();
    try (SandboxManager manager = SandboxManager.builder().connectionConfig(wrong).build()) {
      expectRefused(401, "INVALID_API_KEY", () -> manager.getSandboxInfo(sandbox.getId()));
    }
    expectRefused(400, "SANDBOX::INVALID_METADATA_LABEL", () -> Sandbox.builder()
        .image("host").metadata("title", "with a space").connectionConfig(config).build());
  }

  static void check_kill() {
    sandbox.kill();
    expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> sandbox.getInfo());
    expectRefused(404, "DOCKER::SANDBOX_NOT_FOUND", () -> sandbox.kill());
    sandbox.close();
  }

  private static List<String> lines(List<OutputMessage> messages) {
    return messages.stream().map(message -> message.getText().replaceAll("\\r?\\n$", "")).collect(Collectors.toList());
  }

  private static void expect(Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) throw new AssertionError("found " + found + ", wanted " + wanted);
  }

  private static void expectRefused(int status, String code, Runnable call) {
    try {
      call.run();
    } catch (SandboxApiException error) {
      expect(List.of(error.getStatusCode(), error.getError().getCode()), List.of(status, code));
      return;
    }
    throw new AssertionError("was not refused");
  }

  private static String quote(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "") + "\"";
  }
}
