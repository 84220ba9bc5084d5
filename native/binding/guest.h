// A guest run as JavaScript sees it.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "../core/guest_run.h"

namespace cvmtrace {

// Reads a `GuestPlan` and the options of its batches. Empty, or what is wrong with them; a getter that throws leaves
// its exception pending.
std::string ReadGuestRun(Napi::Value plan, const BatchOptions& options, GuestRun* run);

// `ExecutedBatch[]`, one per vCPU.
Napi::Value ToExecutedBatches(Napi::Env env, GuestRun& run);

// `GuestError` of a run that failed, with its rows.
Napi::Value GuestErrorOf(Napi::Env env, GuestRun& run);

// `guestMemoryBytes(gpa, vcpus)`.
Napi::Value GuestMemoryBytes(const Napi::CallbackInfo& info);

}  // namespace cvmtrace
