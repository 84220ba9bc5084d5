// `probeHost()` for JavaScript.
#pragma once

#include <napi.h>

namespace cvmtrace {

Napi::Value ProbeHost(const Napi::CallbackInfo& info);

}  // namespace cvmtrace
