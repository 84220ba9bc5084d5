// Runs one command, and hands its standard streams through to the host.
#pragma once

#include <string>
#include <vector>

namespace cvmtrace::lab {

struct Command {
  bool terminal = false;
  std::string folder;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
};

// Starts the command, waits for its end, and tells the host of it when all its output has been passed on.
[[noreturn]] void RunCommand(Command& command, int control);

}  // namespace cvmtrace::lab
