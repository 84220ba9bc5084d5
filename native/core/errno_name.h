#pragma once

namespace cvmtrace {

// "ENOTTY" for 25. A number that has no name is given as "errno 9999", written to a buffer of the thread.
const char* ErrnoName(int number);

}  // namespace cvmtrace
