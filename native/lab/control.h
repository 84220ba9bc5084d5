// What process 1 and the host say to each other. Four virtio-serial ports, by name: cvmtrace.stdin, .stdout and .stderr
// carry bytes as they are; cvmtrace.control is below. The host first sends what to do, as texts that end with NUL, each
// list preceded by its length in digits:
//   "bind" (PCI id "vendor:device" of what to give to vfio-pci, or ""), terminal ("1" or "0"), a script that becomes
//   /usr/local/bin/cvmtrace, shares (tag and path in turns), working directory, arguments, environment ("NAME=value").
// Then lines: "signal N" and "window ROWS COLUMNS". Lines to the host: "booted", "started", "." at least every second,
// "failed TEXT" (no command was started), "exit STATUS STDOUT_BYTES STDERR_BYTES" (all bytes are in the ports).
// The host ends the machine; if it goes away instead, the machine turns itself off.
#pragma once

#include <string>
#include <vector>

namespace cvmtrace::lab {

// Opens a port; ends the machine if there is none of that name.
int OpenPort(const std::string& name, int flags);

// Opens cvmtrace.control, for all that is below; its file descriptor.
int OpenControl();

void SendLine(const std::string& line);

[[noreturn]] void PowerOff();

// The host reads the text and ends the machine. `error` is an errno, or 0.
[[noreturn]] void Fail(const std::string& what, int error);

// The next text, or list of texts, of what the host sends first.
std::string ReadText();
std::vector<std::string> ReadTexts();

}  // namespace cvmtrace::lab
