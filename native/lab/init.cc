// Process 1 of the lab (bench/lab): a guest whose root is the host's, read-only over 9p. Mounts what a program expects
// with an overlay in memory over the root (host_root), runs one command in it (command_runner), and hands its standard
// streams through to the host, which says what to do (control).
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "command_runner.h"
#include "control.h"
#include "host_root.h"

int main() {
  using namespace cvmtrace::lab;
  MountFirst();
  const int control = OpenControl();
  SendLine("booted");
  EnterOverlay();
  RaiseLoopback();
  ::sethostname("lab", 3);

  const std::string bind = ReadText();
  Command command;
  command.terminal = ReadText() == "1";
  const std::string script = ReadText();
  const std::vector<std::string> shares = ReadTexts();
  for (size_t i = 0; i + 1 < shares.size(); i += 2) MountShare(shares[i], shares[i + 1]);
  command.folder = ReadText();
  command.arguments = ReadTexts();
  command.environment = ReadTexts();
  if (command.arguments.empty()) Fail("no command", 0);
  if (!bind.empty()) BindToVfio(bind);
  InstallCvmtrace(script);
  for (const std::string& variable : command.environment)
    if (variable.starts_with("PATH=")) ::setenv("PATH", variable.c_str() + 5, 1);

  RunCommand(command, control);
}
