// A recorder as JavaScript sees it.
#pragma once

#include <napi.h>

namespace cvmtrace {

// `createRecorder(options)`: a plain object whose functions hold the recorder, as `createSession` makes one.
Napi::Value CreateRecorder(const Napi::CallbackInfo& info);

// `secureExecution(path)`.
Napi::Value SecureExecutionOf(const Napi::CallbackInfo& info);

}  // namespace cvmtrace
