#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "files.h"

namespace cvmtrace::lab {

namespace {

int control = -1;

}  // namespace

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

int OpenPort(const std::string& name, int flags) {
  for (const std::string& port : List("/sys/class/virtio-ports")) {
    if (ReadLine("/sys/class/virtio-ports/" + port + "/name") != name) continue;
    const int fd = ::open(("/dev/" + port).c_str(), flags | O_CLOEXEC);
    if (fd < 0) Fail("open /dev/" + port, errno);
    return fd;
  }
  Fail("no port " + name, 0);
}

int OpenControl() {
  control = OpenPort("cvmtrace.control", O_RDWR);
  return control;
}

std::string ReadText() {
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

std::vector<std::string> ReadTexts() {
  std::vector<std::string> texts(strtoul(ReadText().c_str(), nullptr, 10));
  for (std::string& text : texts) text = ReadText();
  return texts;
}

}  // namespace cvmtrace::lab
