// `ExecuteOptions` from JavaScript.
#pragma once

#include <napi.h>

#include <string>

#include "../core/batch.h"

namespace cvmtrace {

// Empty, or what is wrong with the options. A getter that throws leaves its exception pending.
std::string ReadOptions(Napi::Value value, BatchOptions* options);

}  // namespace cvmtrace
