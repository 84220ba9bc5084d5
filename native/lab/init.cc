// Process 1 of the lab (bench/lab): a guest whose root is the host's, read-only over 9p. Mounts what a program expects,
// with an overlay in memory over the root, runs one command in it, and hands its standard streams through to the host.
//
// Four virtio-serial ports, by name: cvmtrace.stdin, .stdout and .stderr carry bytes as they are; cvmtrace.control is
// below. The host first sends what to do, as texts that end with NUL, each list preceded by its length in digits:
//   "bind" (PCI id "vendor:device" of what to give to vfio-pci, or ""), terminal ("1" or "0"), a script that becomes
//   /usr/local/bin/cvmtrace, shares (tag and path in turns), working directory, arguments, environment ("NAME=value").
// Then lines: "signal N" and "window ROWS COLUMNS". Lines to the host: "started", "." at least every second,
// "failed TEXT" (no command was started), "exit STATUS STDOUT_BYTES STDERR_BYTES" (all bytes are in the ports).
// The host ends the machine; if it goes away instead, the machine turns itself off.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

constexpr int kBeatMs = 1000;
constexpr size_t kChunk = 64 * 1024;
constexpr const char* k9pOptions = "trans=virtio,version=9p2000.L,msize=524288,cache=mmap";

int control = -1;

void SendLine(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t sent = ::write(control, text.data() + done, text.size() - done);
    if (sent < 0 && errno != EINTR && errno != EAGAIN) return;
    if (sent > 0) done += static_cast<size_t>(sent);
  }
}

[[noreturn]] void PowerOff() {
  ::sync();
  ::reboot(RB_POWER_OFF);
  for (;;) ::pause();
}

// The host reads the text and ends the machine.
[[noreturn]] void Fail(const std::string& what, int error) {
  const std::string text = error ? what + ": " + strerror(error) : what;
  fprintf(stderr, "lab-init: %s\n", text.c_str());
  if (control >= 0) {
    SendLine("failed " + text);
    // Until the host has gone: then nobody is left to read it.
    pollfd gone = {control, 0, 0};
    ::poll(&gone, 1, 10'000);
  }
  PowerOff();
}

void MakeFolders(const std::string& path) {
  for (size_t at = 1; at != std::string::npos; at = path.find('/', at + 1))
    if (at > 1) ::mkdir(path.substr(0, at).c_str(), 0755);
  ::mkdir(path.c_str(), 0755);
}

void Mount(const char* source, const std::string& target, const char* type, const char* options = "",
           unsigned long flags = 0) {
  if (::mount(source, target.c_str(), type, flags, options) != 0) Fail("mount " + target, errno);
}

// What a kernel may lack, or have mounted already.
void MountIfThere(const char* source, const std::string& target, const char* type, const char* options = "") {
  ::mkdir(target.c_str(), 0755);
  static_cast<void>(::mount(source, target.c_str(), type, 0, options));
}

void WriteFile(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  static_cast<void>(!::write(fd, text.data(), text.size()));
  ::close(fd);
}

std::string ReadLine(const std::string& path) {
  char text[256];
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t length = ::read(fd, text, sizeof text);
  ::close(fd);
  std::string line(text, length > 0 ? static_cast<size_t>(length) : 0);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

std::vector<std::string> List(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const dir = ::opendir(folder.c_str());
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(dir);
  return names;
}

int OpenPort(const std::string& name, int flags) {
  for (const std::string& port : List("/sys/class/virtio-ports")) {
    if (ReadLine("/sys/class/virtio-ports/" + port + "/name") != name) continue;
    const int fd = ::open(("/dev/" + port).c_str(), flags | O_CLOEXEC);
    if (fd < 0) Fail("open /dev/" + port, errno);
    return fd;
  }
  Fail("no port " + name, 0);
}

// The host's root below, what is written above in memory. The mount point is a folder that every host has.
void EnterOverlay() {
  std::string base;
  for (const char* candidate : {"/run", "/tmp", "/mnt"}) {
    if (::mount("lab", candidate, "tmpfs", 0, "mode=0755") == 0) {
      base = candidate;
      break;
    }
  }
  if (base.empty()) Fail("no folder /run, /tmp or /mnt to mount on", errno);
  for (const char* folder : {"/upper", "/work", "/root"}) MakeFolders(base + folder);
  const std::string options = "lowerdir=/,upperdir=" + base + "/upper,workdir=" + base + "/work";
  Mount("lab", base + "/root", "overlay", options.c_str());
  if (::chroot((base + "/root").c_str()) != 0 || ::chdir("/") != 0) Fail("chroot", errno);
  MakeFolders("/proc");
  MakeFolders("/sys");
  MakeFolders("/dev");
  Mount("proc", "/proc", "proc");
  Mount("sysfs", "/sys", "sysfs");
  Mount("devtmpfs", "/dev", "devtmpfs");
  MakeFolders("/run");
  Mount("tmpfs", "/run", "tmpfs", "mode=0755");
  MountIfThere("devpts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666");
  MountIfThere("tmpfs", "/dev/shm", "tmpfs", "mode=1777");
  MountIfThere("hugetlbfs", "/dev/hugepages", "hugetlbfs");
  MountIfThere("debugfs", "/sys/kernel/debug", "debugfs");
  MountIfThere("tracefs", "/sys/kernel/tracing", "tracefs");
  for (const auto& [link, target] : {std::pair{"/dev/fd", "/proc/self/fd"},
                                     {"/dev/stdin", "/proc/self/fd/0"},
                                     {"/dev/stdout", "/proc/self/fd/1"},
                                     {"/dev/stderr", "/proc/self/fd/2"}})
    static_cast<void>(!::symlink(target, link));
}

void RaiseLoopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  ifreq lo = {};
  strcpy(lo.ifr_name, "lo");
  lo.ifr_flags = IFF_UP | IFF_RUNNING;
  ::ioctl(fd, SIOCSIFFLAGS, &lo);
  ::close(fd);
}

// Gives the PCI devices of that id ("8086:10d3") to vfio-pci.
void BindToVfio(const std::string& id) {
  const std::string root = "/sys/bus/pci/devices/";
  for (const std::string& address : List(root)) {
    const std::string vendor = ReadLine(root + address + "/vendor");
    const std::string device = ReadLine(root + address + "/device");
    if (vendor.size() < 6 || device.size() < 6 || vendor.substr(2) + ":" + device.substr(2) != id) continue;
    WriteFile(root + address + "/driver_override", "vfio-pci");
    WriteFile("/sys/bus/pci/drivers_probe", address);
  }
}

// The command line that runs the lab is found inside too, also by scripts.
void InstallCvmtrace(const std::string& script) {
  MakeFolders("/usr/local/bin");
  const int fd = ::open("/usr/local/bin/cvmtrace", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  if (fd < 0) return;
  static_cast<void>(!::write(fd, script.data(), script.size()));
  ::close(fd);
}

// Texts from the control port.
class Reader {
 public:
  std::string Text() {
    std::string text;
    for (;;) {
      char c;
      const ssize_t got = ::read(control, &c, 1);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) PowerOff();
      if (c == '\0') return text;
      text += c;
    }
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts(strtoul(Text().c_str(), nullptr, 10));
    for (std::string& text : texts) text = Text();
    return texts;
  }
};

struct Command {
  bool terminal = false;
  std::string folder;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
};

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
  Runner() {
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
    SetNonBlocking(control);
  }

  void Loop() {
    for (;;) {
      pollfd fds[8];
      Relay* relays[8] = {};
      nfds_t count = 0;
      fds[count++] = {control, POLLIN, 0};
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

  void Finish() {
    ::sync();
    char line[96];
    snprintf(line, sizeof line, "exit %d %llu %llu", status_, stdout_.sent, stderr_.sent);
    SendLine(line);
    // The host ends the machine when it has all bytes; if it is gone, the machine has no use.
    for (;;) {
      pollfd gone = {control, POLLIN, 0};
      ::poll(&gone, 1, -1);
      if (gone.revents & POLLHUP) PowerOff();
      char ignored[256];
      if (::read(control, ignored, sizeof ignored) == 0) PowerOff();
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
    const ssize_t got = ::read(control, chunk, sizeof chunk);
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

  int in_, out_, err_, children_;
  int terminal_ = -1;
  pid_t child_ = -1;
  bool exited_ = false;
  int status_ = 0;
  std::string lines_;
  Relay stdin_, stdout_, stderr_;
};

}  // namespace

int main() {
  // The root may have them empty or not; nothing to be done if it does not have them at all.
  static_cast<void>(::mount("proc", "/proc", "proc", 0, ""));
  static_cast<void>(::mount("sysfs", "/sys", "sysfs", 0, ""));
  static_cast<void>(::mount("devtmpfs", "/dev", "devtmpfs", 0, ""));
  control = OpenPort("cvmtrace.control", O_RDWR);
  SendLine("booted");
  EnterOverlay();
  RaiseLoopback();
  ::sethostname("lab", 3);

  Reader reader;
  const std::string bind = reader.Text();
  Command command;
  command.terminal = reader.Text() == "1";
  const std::string script = reader.Text();
  const std::vector<std::string> shares = reader.Texts();
  for (size_t i = 0; i + 1 < shares.size(); i += 2) {
    MakeFolders(shares[i + 1]);
    Mount(shares[i].c_str(), shares[i + 1], "9p", k9pOptions);
  }
  command.folder = reader.Text();
  command.arguments = reader.Texts();
  command.environment = reader.Texts();
  if (command.arguments.empty()) Fail("no command", 0);
  if (!bind.empty()) BindToVfio(bind);
  InstallCvmtrace(script);
  for (const std::string& variable : command.environment)
    if (variable.starts_with("PATH=")) ::setenv("PATH", variable.c_str() + 5, 1);

  Runner runner;
  runner.Start(command);
  runner.Loop();
  runner.Finish();
}
