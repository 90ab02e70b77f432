// The Java kernel: `java --add-opens java.base/java.io=ALL-UNNAMED Kernel.java`, its channel to execd being descriptor 3
// (execd/code/builtin/kernel-process.ts has the protocol).
//
// JShell compiles here and runs what it compiled in a virtual machine of its own (Machine), so that a cell can be stopped
// wherever it is, and a cell that ends the machine does not end the kernel. A cell may be snippets as in `jshell`, or a program: a class with a
// `main` as the last thing of a cell is run.

import com.sun.jdi.BooleanValue;
import com.sun.jdi.ClassNotLoadedException;
import com.sun.jdi.IncompatibleThreadStateException;
import com.sun.jdi.InvalidTypeException;
import com.sun.jdi.ObjectReference;
import com.sun.jdi.ReferenceType;
import com.sun.jdi.StackFrame;
import com.sun.jdi.ThreadReference;
import com.sun.jdi.VirtualMachine;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.ObjectInput;
import java.io.ObjectOutput;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import jdk.jshell.DeclarationSnippet;
import jdk.jshell.Diag;
import jdk.jshell.EvalException;
import jdk.jshell.JShell;
import jdk.jshell.JShellException;
import jdk.jshell.Snippet;
import jdk.jshell.SnippetEvent;
import jdk.jshell.SourceCodeAnalysis;
import jdk.jshell.SourceCodeAnalysis.Completeness;
import jdk.jshell.SourceCodeAnalysis.CompletionInfo;
import jdk.jshell.TypeDeclSnippet;
import jdk.jshell.UnresolvedReferenceException;
import jdk.jshell.execution.JdiExecutionControl;
import jdk.jshell.execution.JdiInitiator;
import jdk.jshell.execution.RemoteExecutionControl;
import jdk.jshell.execution.Util;
import jdk.jshell.spi.ExecutionControl;
import jdk.jshell.spi.ExecutionControlProvider;
import jdk.jshell.spi.ExecutionEnv;

public final class Kernel {
  private static final String[] IMPORTS = {
    "java.io.*", "java.math.*", "java.net.*", "java.nio.file.*", "java.time.*", "java.util.*",
    "java.util.concurrent.*", "java.util.function.*", "java.util.regex.*", "java.util.stream.*",
  };
  private static final int CHANNEL = 3;
  private static final int STOP_STEP_MS = 50;
  private static final int MAX_FRAMES = 100;
  private static final Pattern MAIN = Pattern.compile("\\bstatic\\s+void\\s+main\\s*\\(\\s*(?:final\\s+)?String\\b");

  private final BufferedReader in;
  private final OutputStream channel;
  private final PrintStream out = print(FileDescriptor.out);
  private final PrintStream err = print(FileDescriptor.err);
  private final ExecutorService worker = Executors.newSingleThreadExecutor();
  private final MachineProvider provider = new MachineProvider();
  private JShell shell;
  private int count;
  private volatile boolean running;
  private volatile boolean interrupted;
  private volatile boolean ended;

  public static void main(String[] args) throws Exception {
    // The whole process group gets the signal of an interrupt. It is told over the channel as well, and here a machine that
    // ends at a signal would end with all that was defined; so would the one that JShell starts, which inherits this.
    sun.misc.Signal.handle(new sun.misc.Signal("INT"), sun.misc.SignalHandler.SIG_IGN);
    new Kernel().serve();
  }

  private Kernel() throws Exception {
    FileDescriptor descriptor = new FileDescriptor();
    // It is a socket, which no path leads to.
    Field field = FileDescriptor.class.getDeclaredField("fd");
    field.setAccessible(true);
    field.setInt(descriptor, CHANNEL);
    in = new BufferedReader(new InputStreamReader(new FileInputStream(descriptor), StandardCharsets.UTF_8));
    channel = new FileOutputStream(descriptor);
  }

  private static PrintStream print(FileDescriptor descriptor) {
    return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
  }

  private void serve() throws IOException {
    shell = open();
    send("{\"op\":\"ready\",\"tellInterrupts\":true}");
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String op = Json.text(line, "op");
      if ("execute".equals(op)) {
        long cell = Json.number(line, "cell");
        String code = Json.text(line, "code");
        running = true;
        interrupted = false;
        worker.execute(() -> execute(cell, code));
      } else if ("interrupt".equals(op)) {
        interrupt();
      }
    }
    // Nobody is there any more.
    System.exit(0);
  }

  private JShell open() throws IOException {
    // Unpacked each time, as anyone may have emptied the temporary directory.
    String[] options = {
      "-cp", Agent.unpack().toString(), "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-XX:-UsePerfData",
    };
    JShell opened =
        JShell.builder().out(out).err(err).compilerOptions("-proc:none").remoteVMOptions(options)
            .executionEngine(provider, Map.of()).build();
    ended = false;
    opened.onShutdown(each -> ended = true);
    String classPath = System.getenv("CLASSPATH");
    if (classPath != null && !classPath.isEmpty()) opened.addToClasspath(classPath);
    for (String name : IMPORTS) opened.eval("import " + name + ";");
    return opened;
  }

  private void execute(long cell, String code) {
    try {
      send("{\"op\":\"count\",\"cell\":" + cell + ",\"count\":" + ++count + "}");
      run(cell, code);
    } catch (Throwable error) {
      fail(cell, error.getClass().getSimpleName(), String.valueOf(error.getMessage()), frames(error));
    } finally {
      running = false;
      provider.machine.settle();
      out.flush();
      err.flush();
      send("{\"op\":\"done\",\"cell\":" + cell + "}");
    }
  }

  private void run(long cell, String code) throws IOException {
    SourceCodeAnalysis analysis = shell.sourceCodeAnalysis();
    SnippetEvent last = null;
    String rest = code;
    while (!rest.isBlank()) {
      CompletionInfo part = analysis.analyzeCompletion(rest);
      if (part.completeness() == Completeness.EMPTY) break;
      boolean isWhole = part.completeness().isComplete();
      // What is not whole is tried all the same: the compiler says best what is wrong with it.
      String source = isWhole ? part.source() : rest;
      last = evaluate(cell, code, source, code.length() - rest.length());
      if (last == null) return;
      rest = isWhole ? part.remaining() : "";
    }
    if (last == null) return;
    if (isProgram(last.snippet())) {
      evaluate(cell, code, ((TypeDeclSnippet) last.snippet()).name() + ".main(new String[0]);", 0);
    } else if (isShown(last)) {
      send("{\"op\":\"result\",\"cell\":" + cell + ",\"data\":{\"text/plain\":" + quote(last.value()) + "}}");
    }
  }

  /** Runs one snippet. Null when it failed, which has been told then. */
  private SnippetEvent evaluate(long cell, String code, String source, int offset) throws IOException {
    SnippetEvent own = null;
    if (interrupted) return failInterrupted(cell);
    List<SnippetEvent> events = shell.eval(source);
    if (ended) return failEnded(cell);
    if (interrupted) return failInterrupted(cell);
    for (SnippetEvent event : events) {
      if (event.causeSnippet() != null) continue;
      own = event;
      if (event.status() == Snippet.Status.REJECTED) return failCompilation(cell, code, source, offset, event.snippet());
      if (event.exception() != null) return failExecution(cell, event.exception());
    }
    return own;
  }

  private SnippetEvent failInterrupted(long cell) {
    fail(cell, "KeyboardInterrupt", "interrupted", new ArrayList<>());
    return null;
  }

  /** The machine that runs the cells has ended: by System.exit, or for want of memory. */
  private SnippetEvent failEnded(long cell) throws IOException {
    shell = open();
    fail(cell, "SystemExit", "The Java virtual machine ended, and all that was defined is lost", new ArrayList<>());
    return null;
  }

  private SnippetEvent failCompilation(long cell, String code, String source, int offset, Snippet snippet) {
    List<String> traceback = new ArrayList<>();
    String first = null;
    List<Diag> problems = shell.diagnostics(snippet).collect(Collectors.toList());
    for (Diag problem : problems) {
      if (!problem.isError()) continue;
      String message = problem.getMessage(Locale.ROOT).strip();
      int position = Math.max(0, (int) Math.min(problem.getPosition(), source.length()));
      // Where the snippet begins in the cell is known but for the white space around it.
      int start = Math.max(0, code.indexOf(source.strip(), Math.max(0, offset)));
      int at = Math.min(code.length(), start + Math.max(0, position - (source.length() - source.stripLeading().length())));
      int line = (int) code.substring(0, at).chars().filter(c -> c == '\n').count() + 1;
      String text = code.lines().skip(line - 1L).findFirst().orElse("");
      int column = at - (code.lastIndexOf('\n', at - 1) + 1);
      if (first == null) first = "line " + line + ": " + message.lines().findFirst().orElse("");
      traceback.add("line " + line + ": error: " + message);
      traceback.add(text);
      traceback.add(" ".repeat(Math.min(column, text.length())) + "^");
    }
    fail(cell, "CompilationException", first == null ? "The cell cannot be compiled" : first, traceback);
    return null;
  }

  private SnippetEvent failExecution(long cell, JShellException exception) {
    if (exception instanceof EvalException) {
      String name = ((EvalException) exception).getExceptionClassName();
      String message = exception.getMessage();
      String said = message == null ? name : name + ": " + message;
      List<String> traceback = new ArrayList<>();
      traceback.add(said);
      traceback.addAll(frames(exception));
      for (Throwable cause = exception.getCause(); cause != null; cause = cause.getCause()) {
        String causeName =
            cause instanceof EvalException ? ((EvalException) cause).getExceptionClassName() : cause.getClass().getName();
        traceback.add("Caused by: " + causeName + (cause.getMessage() == null ? "" : ": " + cause.getMessage()));
        traceback.addAll(frames(cause));
      }
      fail(cell, "EvalException", said, traceback);
    } else if (exception instanceof UnresolvedReferenceException) {
      Snippet snippet = ((UnresolvedReferenceException) exception).getSnippet();
      String missing = String.join(", ", shell.unresolvedDependencies((DeclarationSnippet) snippet)
          .collect(Collectors.toList()));
      fail(cell, "UnresolvedReferenceException", "This is not defined yet: " + missing, frames(exception));
    } else {
      fail(cell, exception.getClass().getSimpleName(), String.valueOf(exception.getMessage()), frames(exception));
    }
    return null;
  }

  private static List<String> frames(Throwable error) {
    List<String> frames = new ArrayList<>();
    for (StackTraceElement frame : error.getStackTrace()) {
      if (frames.size() == MAX_FRAMES) break;
      // JShell's own names for what surrounds a snippet say nothing.
      String where = frame.toString().replaceAll("^REPL\\.\\$JShell\\$\\w+\\.", "").replaceAll("^do_it\\$", "<cell>");
      frames.add("\tat " + where);
    }
    return frames;
  }

  private static boolean isProgram(Snippet snippet) {
    return snippet instanceof TypeDeclSnippet && MAIN.matcher(snippet.source()).find();
  }

  private static boolean isShown(SnippetEvent event) {
    if (event.value() == null || event.value().isEmpty()) return false;
    switch (event.snippet().subKind()) {
      case TEMP_VAR_EXPRESSION_SUBKIND:
      case VAR_VALUE_SUBKIND:
      case OTHER_EXPRESSION_SUBKIND:
        return true;
      default:
        return false;
    }
  }

  /** Stops what runs. What is being compiled cannot be stopped, and the stop comes to nothing before it runs, so it is repeated. */
  private void interrupt() {
    if (!running) return;
    interrupted = true;
    Thread stopper = new Thread(() -> {
      try {
        while (running && interrupted) {
          shell.stop();
          Thread.sleep(STOP_STEP_MS);
        }
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
      }
    });
    stopper.setDaemon(true);
    stopper.start();
  }

  private void fail(long cell, String name, String value, List<String> traceback) {
    StringBuilder lines = new StringBuilder();
    for (String line : traceback) lines.append(lines.length() == 0 ? "" : ",").append(quote(line));
    send("{\"op\":\"error\",\"cell\":" + cell + ",\"ename\":" + quote(name) + ",\"evalue\":" + quote(value)
        + ",\"traceback\":[" + lines + "]}");
  }

  private synchronized void send(String line) {
    try {
      channel.write((line + "\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException error) {
      // execd is gone, and with it whoever could be told.
      System.exit(1);
    }
  }

  private static final class MachineProvider implements ExecutionControlProvider {
    /** The one that was started last. */
    private volatile Machine machine;

    @Override
    public String name() {
      return "machine";
    }

    @Override
    public ExecutionControl generate(ExecutionEnv env, Map<String, String> parameters) throws IOException {
      machine = Machine.start(env);
      return machine;
    }
  }

  /**
   * The virtual machine that runs cells. It is what JShell would start by itself, but for two things: nothing that goes between
   * the two waits for more to go with it, which takes a fifth of a second off each snippet; and what processes of the user's
   * write to the output that they inherit is read, and not left until it stops them.
   */
  private static final class Machine extends JdiExecutionControl {
    private static final int TIMEOUT_MS = 30_000;
    private static final int DRAIN_MS = 10;
    private static final int IDLE_DRAIN_MS = 200;
    private static final String RUNNER = RemoteExecutionControl.class.getName();
    private final VirtualMachine vm;
    private final Process process;
    private final ExecutionEnv env;
    private final Object lock = new Object();
    private volatile boolean runs;

    private Machine(ObjectOutput out, ObjectInput in, JdiInitiator initiator, ExecutionEnv env) {
      super(out, in);
      this.vm = initiator.vm();
      this.process = initiator.process();
      this.env = env;
      drain();
    }

    static Machine start(ExecutionEnv env) throws IOException {
      try (ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
        listener.setSoTimeout(TIMEOUT_MS);
        JdiInitiator initiator = new JdiInitiator(listener.getLocalPort(), env.extraRemoteVMOptions(), Agent.class.getName(),
            true, null, TIMEOUT_MS, Map.of());
        Util.detectJdiExitEvent(initiator.vm(), why -> env.closeDown());
        Socket socket = listener.accept();
        socket.setTcpNoDelay(true);
        Map<String, OutputStream> outputs = Map.of("out", env.userOut(), "err", env.userErr());
        return (Machine) Util.remoteInputOutput(socket.getInputStream(), socket.getOutputStream(), outputs,
            Map.of("in", env.userIn()), (in, out) -> new Machine(out, in, initiator, env));
      }
    }

    /** Reads, again and again, what processes of the user's write to the output that they inherit. */
    private void drain() {
      Thread thread = new Thread(() -> {
        try {
          while (process.isAlive()) {
            settle();
            Thread.sleep(runs ? DRAIN_MS : IDLE_DRAIN_MS);
          }
        } catch (InterruptedException error) {
          Thread.currentThread().interrupt();
        }
      });
      thread.setDaemon(true);
      thread.start();
    }

    /** Hands on what has been written so far. Never waits for more: whoever else asks would wait as well. */
    void settle() {
      synchronized (process) {
        try {
          pass(process.getInputStream(), env.userOut());
          pass(process.getErrorStream(), env.userErr());
        } catch (IOException error) {
          // The machine has ended, and has nothing more to say.
        }
      }
    }

    private static void pass(InputStream from, OutputStream to) throws IOException {
      for (int more = from.available(); more > 0; more = from.available()) to.write(from.readNBytes(more));
    }

    @Override
    protected VirtualMachine vm() {
      return vm;
    }

    @Override
    public String invoke(String className, String methodName)
        throws RunException, EngineTerminationException, InternalException {
      synchronized (lock) {
        runs = true;
      }
      try {
        return super.invoke(className, methodName);
      } finally {
        synchronized (lock) {
          runs = false;
        }
      }
    }

    /** Has the thread that runs the cell stop where it is. JShell's side of the machine knows what to make of that. */
    @Override
    public void stop() throws InternalException {
      synchronized (lock) {
        if (!runs) return;
        vm.suspend();
        try {
          for (ThreadReference thread : vm.allThreads()) if (stopIfRunning(thread)) return;
        } catch (IncompatibleThreadStateException | InvalidTypeException | ClassNotLoadedException error) {
          throw new InternalException("Cannot stop a cell: " + error);
        } finally {
          vm.resume();
        }
      }
    }

    private boolean stopIfRunning(ThreadReference thread)
        throws IncompatibleThreadStateException, InvalidTypeException, ClassNotLoadedException {
      for (StackFrame frame : thread.frames()) {
        String method = frame.location().method().name();
        if (!RUNNER.equals(frame.location().declaringType().name()) || !(method.equals("invoke") || method.equals("varValue")))
          continue;
        ObjectReference runner = frame.thisObject();
        ReferenceType type = runner.referenceType();
        // What is running may be JShell's own part of it, which must not be stopped half way.
        if (!((BooleanValue) runner.getValue(type.fieldByName("inClientCode"))).value()) return true;
        runner.setValue(type.fieldByName("expectingStop"), vm.mirrorOf(true));
        thread.stop((ObjectReference) runner.getValue(type.fieldByName("stopException")));
        return true;
      }
      return false;
    }

    @Override
    public void close() {
      super.close();
      process.destroy();
    }
  }

  /** The first thing that runs in the other machine: RemoteExecutionControl, with a connection that does not wait. */
  public static final class Agent {
    public static void main(String[] args) throws Exception {
      Socket socket = new Socket(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0]));
      socket.setTcpNoDelay(true);
      Map<String, Consumer<OutputStream>> outputs = Map.of(
          "out", stream -> System.setOut(new PrintStream(stream, true, StandardCharsets.UTF_8)),
          "err", stream -> System.setErr(new PrintStream(stream, true, StandardCharsets.UTF_8)));
      Map<String, Consumer<InputStream>> inputs = Map.of("in", System::setIn);
      Util.forwardExecutionControlAndIO(new RemoteExecutionControl(), socket.getInputStream(), socket.getOutputStream(),
          outputs, inputs);
    }

    /** Writes this class, which was compiled in memory, to where the other machine finds it. */
    static Path unpack() throws IOException {
      Path folder = Files.createTempDirectory("java-kernel-");
      Path file = folder.resolve("Kernel$Agent.class");
      try (InputStream bytes = Kernel.class.getClassLoader().getResourceAsStream("Kernel$Agent.class")) {
        Files.copy(bytes, file);
      }
      file.toFile().deleteOnExit();
      folder.toFile().deleteOnExit();
      return folder;
    }
  }

  private static String quote(String text) {
    return Json.quote(text);
  }

  /** As much of JSON as the channel has: flat objects that execd wrote, with no space between their parts. */
  private static final class Json {
    static long number(String line, String key) {
      int start = line.indexOf("\"" + key + "\":") + key.length() + 3;
      int end = start;
      while (end < line.length() && Character.isDigit(line.charAt(end))) end++;
      return Long.parseLong(line.substring(start, end));
    }

    static String text(String line, String key) {
      String before = "\"" + key + "\":\"";
      int start = line.indexOf(before);
      if (start < 0) return null;
      StringBuilder text = new StringBuilder();
      for (int at = start + before.length(); line.charAt(at) != '"'; at++) {
        char c = line.charAt(at);
        if (c != '\\') {
          text.append(c);
          continue;
        }
        c = line.charAt(++at);
        if (c == 'u') {
          text.append((char) Integer.parseInt(line.substring(at + 1, at + 5), 16));
          at += 4;
        } else {
          int known = "bfnrt".indexOf(c);
          text.append(known < 0 ? c : "\b\f\n\r\t".charAt(known));
        }
      }
      return text.toString();
    }

    static String quote(String text) {
      StringBuilder quoted = new StringBuilder("\"");
      for (int at = 0; at < text.length(); at++) {
        char c = text.charAt(at);
        boolean lone =
            Character.isHighSurrogate(c)
                ? at + 1 == text.length() || !Character.isLowSurrogate(text.charAt(at + 1))
                : Character.isLowSurrogate(c) && (at == 0 || !Character.isHighSurrogate(text.charAt(at - 1)));
        if (c == '"' || c == '\\') quoted.append('\\').append(c);
        else if (c < ' ' || lone) quoted.append(String.format("\\u%04x", (int) c));
        else quoted.append(c);
      }
      return quoted.append('"').toString();
    }
  }
}
