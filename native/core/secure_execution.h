// Whether a program would run in secure-execution mode (ld.so(8)), where LD_PRELOAD is ignored.
#pragma once

#include <string>

namespace cvmtrace {

// "setuid", "setgid" or "capabilities": what on the file would make it so for this process; "" for nothing, also where
// the file cannot be looked at. The rules are those of begin_new_exec() and cap_bprm_creds_from_file() in the kernel.
const char* SecureExecution(const std::string& path);

}  // namespace cvmtrace
