// An executed batch as JavaScript sees it.
#pragma once

#include <napi.h>

#include <memory>

#include "../core/batch.h"

namespace cvmtrace {

// `ExecutedBatch`: typed arrays over the batch's own memory, which the collector frees with the last of them.
Napi::Value ToExecutedBatch(Napi::Env env, std::unique_ptr<Batch> batch);

}  // namespace cvmtrace
