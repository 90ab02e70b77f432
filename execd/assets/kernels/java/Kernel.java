// The Java kernel: `java --add-opens java.base/java.io=ALL-UNNAMED Kernel.java`, its channel to execd being descriptor 3
// (execd/code/builtin/kernel-process.ts has the protocol).
//
// JShell compiles here and runs what it compiled in a virtual machine of its own, so that a cell can be stopped wherever it is,
// and a cell that ends the machine does not end the kernel. A cell may be snippets as in `jshell`, or a program: a class with a
// `main` as the last thing of a cell is run.

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
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

public final class Kernel {
  private static final String[] IMPORTS = {
    "java.io.*", "java.math.*", "java.net.*", "java.nio.file.*", "java.time.*", "java.util.*",
    "java.util.concurrent.*", "java.util.function.*", "java.util.regex.*", "java.util.stream.*",
  };
  private static final String[] REMOTE_OPTIONS = {"-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-XX:-UsePerfData"};
  private static final int CHANNEL = 3;
  private static final int STOP_STEP_MS = 50;
  private static final int MAX_FRAMES = 100;
  private static final Pattern MAIN = Pattern.compile("\\bstatic\\s+void\\s+main\\s*\\(\\s*(?:final\\s+)?String\\b");

  private final BufferedReader in;
  private final OutputStream channel;
  private final PrintStream out = print(FileDescriptor.out);
  private final PrintStream err = print(FileDescriptor.err);
  private final ExecutorService worker = Executors.newSingleThreadExecutor();
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

  private JShell open() {
    JShell opened =
        JShell.builder().out(out).err(err).compilerOptions("-proc:none").remoteVMOptions(REMOTE_OPTIONS).build();
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
      out.flush();
      err.flush();
      send("{\"op\":\"done\",\"cell\":" + cell + "}");
    }
  }

  private void run(long cell, String code) {
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
  private SnippetEvent evaluate(long cell, String code, String source, int offset) {
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
  private SnippetEvent failEnded(long cell) {
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
