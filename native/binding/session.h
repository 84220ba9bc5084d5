// A session as JavaScript sees it.
#pragma once

#include <napi.h>

namespace cvmtrace {

// `createSession()`: a plain object whose functions hold the session, so that calling them on another object cannot go
// wrong. The session lives as long as one of them, or a promise, can be reached.
Napi::Value CreateSession(const Napi::CallbackInfo& info);

}  // namespace cvmtrace
