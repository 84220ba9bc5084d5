#include "command_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "control.h"

namespace cvmtrace::lab {

namespace {

constexpr int kBeatMs = 1000;
constexpr size_t kChunk = 64 * 1024;

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the child. Like a shell: 127 if there is no such program, 126 if it cannot be run.
[[noreturn]] void Exec(Command& command) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  environ = nullptr;
  std::vector<char*> environment = Pointers(command.environment);
  std::vector<char*> arguments = Pointers(command.arguments);
  if (::chdir(command.folder.c_str()) != 0) {
    dprintf(2, "cvmtrace lab: %s: %s\n", command.folder.c_str(), strerror(errno));
    ::_exit(126);
  }
  environ = environment.data();
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  dprintf(2, "cvmtrace lab: %s: %s\n", arguments[0], strerror(error));
  ::_exit(error == ENOENT ? 127 : 126);
}

// Bytes on their way from one file descriptor to another.
struct Relay {
  int from = -1;  // -1: ended
  int to = -1;
  std::string waiting = {};
  unsigned long long sent = 0;
  bool close_at_end = false;

  bool wants_read() const { return from >= 0 && waiting.empty(); }
  bool wants_write() const { return to >= 0 && !waiting.empty(); }

  void Read() {
    char chunk[kChunk];
    const ssize_t got = ::read(from, chunk, sizeof chunk);
    if (got > 0) {
      waiting.assign(chunk, static_cast<size_t>(got));
      Write();
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      ::close(from);
      from = -1;
      if (close_at_end) CloseTo();
    }
  }
  void Write() {
    const ssize_t written = ::write(to, waiting.data(), waiting.size());
    if (written > 0) {
      sent += static_cast<unsigned long long>(written);
      waiting.erase(0, static_cast<size_t>(written));
    } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
      // Nobody reads: what is left has nowhere to go.
      waiting.clear();
      CloseTo();
      if (from >= 0) ::close(from);
      from = -1;
    }
  }
  void CloseTo() {
    if (to >= 0) ::close(to);
    to = -1;
  }
};

void SetNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

class Runner {
 public:
  explicit Runner(int control) : control_(control) {
    in_ = OpenPort("cvmtrace.stdin", O_RDONLY | O_NONBLOCK);
    out_ = OpenPort("cvmtrace.stdout", O_WRONLY | O_NONBLOCK);
    err_ = OpenPort("cvmtrace.stderr", O_WRONLY | O_NONBLOCK);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &children, nullptr);
    children_ = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    ::signal(SIGPIPE, SIG_IGN);
  }

  void Start(Command& command) {
    if (command.terminal) {
      StartOnTerminal(command);
    } else {
      StartOnPipes(command);
    }
    if (child_ < 0) Fail("fork", errno);
    SendLine("started");
    SetNonBlocking(control_);
  }

  void Loop() {
    for (;;) {
      pollfd fds[8];
      Relay* relays[8] = {};
      nfds_t count = 0;
      fds[count++] = {control_, POLLIN, 0};
      fds[count++] = {children_, POLLIN, 0};
      for (Relay* relay : {&stdin_, &stdout_, &stderr_}) {
        if (relay->wants_write()) {
          relays[count] = relay;
          fds[count++] = {relay->to, POLLOUT, 0};
        } else if (relay->wants_read()) {
          relays[count] = relay;
          fds[count++] = {relay->from, POLLIN, 0};
        }
      }
      const int ready = ::poll(fds, count, kBeatMs);
      if (ready == 0) SendLine(".");
      if (fds[0].revents & POLLHUP) PowerOff();
      if (fds[0].revents & POLLIN) ReadControl();
      for (nfds_t i = 2; i < count; ++i) {
        if (!fds[i].revents) continue;
        if (fds[i].events & POLLOUT) {
          relays[i]->Write();
        } else {
          relays[i]->Read();
        }
      }
      if (fds[1].revents) Reap();
      if (exited_ && Drained()) return;
    }
  }

  [[noreturn]] void Finish() {
    ::sync();
    char line[96];
    snprintf(line, sizeof line, "exit %d %llu %llu", status_, stdout_.sent, stderr_.sent);
    SendLine(line);
    // The host ends the machine when it has all bytes; if it is gone, the machine has no use.
    for (;;) {
      pollfd gone = {control_, POLLIN, 0};
      ::poll(&gone, 1, -1);
      if (gone.revents & POLLHUP) PowerOff();
      char ignored[256];
      if (::read(control_, ignored, sizeof ignored) == 0) PowerOff();
    }
  }

 private:
  void StartOnPipes(Command& command) {
    int input[2], output[2], errors[2];
    if (::pipe2(input, O_CLOEXEC) || ::pipe2(output, O_CLOEXEC) || ::pipe2(errors, O_CLOEXEC)) Fail("pipe", errno);
    child_ = ::fork();
    if (child_ == 0) {
      ::setsid();
      ::dup2(input[0], 0);
      ::dup2(output[1], 1);
      ::dup2(errors[1], 2);
      Exec(command);
    }
    ::close(input[0]);
    ::close(output[1]);
    ::close(errors[1]);
    for (const int fd : {input[1], output[0], errors[0]}) SetNonBlocking(fd);
    stdin_ = {in_, input[1]};
    stdin_.close_at_end = true;
    stdout_ = {output[0], out_};
    stderr_ = {errors[0], err_};
  }

  void StartOnTerminal(Command& command) {
    terminal_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal_ < 0 || ::grantpt(terminal_) || ::unlockpt(terminal_)) Fail("terminal", errno);
    const std::string name = ::ptsname(terminal_);
    child_ = ::fork();
    if (child_ == 0) {
      ::setsid();
      const int fd = ::open(name.c_str(), O_RDWR);
      ::ioctl(fd, TIOCSCTTY, 0);
      for (const int standard : {0, 1, 2}) ::dup2(fd, standard);
      if (fd > 2) ::close(fd);
      Exec(command);
    }
    SetNonBlocking(terminal_);
    stdin_ = {in_, ::fcntl(terminal_, F_DUPFD_CLOEXEC, 3)};
    stdout_ = {::fcntl(terminal_, F_DUPFD_CLOEXEC, 3), out_};
  }

  void ReadControl() {
    char chunk[256];
    const ssize_t got = ::read(control_, chunk, sizeof chunk);
    if (got == 0) PowerOff();
    if (got > 0) lines_.append(chunk, static_cast<size_t>(got));
    for (size_t end; (end = lines_.find('\n')) != std::string::npos; lines_.erase(0, end + 1)) {
      int first = 0, second = 0;
      const std::string line = lines_.substr(0, end);
      if (sscanf(line.c_str(), "signal %d", &first) == 1 && child_ > 0) {
        ::kill(-child_, first);
      } else if (sscanf(line.c_str(), "window %d %d", &first, &second) == 2 && terminal_ >= 0) {
        const winsize size = {static_cast<unsigned short>(first), static_cast<unsigned short>(second), 0, 0};
        ::ioctl(terminal_, TIOCSWINSZ, &size);
      }
    }
  }

  // Process 1 is the parent of all whose own has ended.
  void Reap() {
    signalfd_siginfo ignored;
    while (::read(children_, &ignored, sizeof ignored) == sizeof ignored) continue;
    int status;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != child_) continue;
      exited_ = true;
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }

  // What the command left in its pipes is passed on; what its own children still write is not waited for.
  bool Drained() {
    for (Relay* relay : {&stdout_, &stderr_}) {
      while (relay->wants_read()) {
        pollfd data = {relay->from, POLLIN, 0};
        if (::poll(&data, 1, 0) <= 0) break;
        relay->Read();
        if (!relay->waiting.empty()) return false;
      }
      if (relay->wants_write()) return false;
    }
    return true;
  }

  const int control_;
  int in_, out_, err_, children_;
  int terminal_ = -1;
  pid_t child_ = -1;
  bool exited_ = false;
  int status_ = 0;
  std::string lines_;
  Relay stdin_, stdout_, stderr_;
};

}  // namespace

void RunCommand(Command& command, int control) {
  Runner runner(control);
  runner.Start(command);
  runner.Loop();
  runner.Finish();
}

}  // namespace cvmtrace::lab
