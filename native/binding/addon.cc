// The addon's exports: the interface `Native` in native/native.ts. No system calls of its own; core/ has them.
#include <napi.h>

#include "../core/errno_name.h"
#include "../core/ops.h"
#include "guest.h"
#include "probe.h"
#include "recorder.h"
#include "session.h"

namespace cvmtrace {
namespace {

Napi::Value ErrnoNameOf(const Napi::CallbackInfo& info) {
  const double number = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= 65535)) {
    Napi::TypeError::New(info.Env(), "errno is not a number from 0 to 65535").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  return Napi::String::New(info.Env(), ErrnoName(static_cast<int>(number)));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto names = Napi::Array::New(env, kOpCount);
  for (uint32_t i = 0; i < kOpCount; ++i) names.Set(i, kOpNames[i]);
  exports.Set("ops", names);
  exports.Set("createSession", Napi::Function::New(env, CreateSession, "createSession"));
  exports.Set("probeHost", Napi::Function::New(env, ProbeHost, "probeHost"));
  exports.Set("guestMemoryBytes", Napi::Function::New(env, GuestMemoryBytes, "guestMemoryBytes"));
  exports.Set("createRecorder", Napi::Function::New(env, CreateRecorder, "createRecorder"));
  exports.Set("secureExecution", Napi::Function::New(env, SecureExecutionOf, "secureExecution"));
  exports.Set("errnoName", Napi::Function::New(env, ErrnoNameOf, "errnoName"));
  return exports;
}

}  // namespace
}  // namespace cvmtrace

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return cvmtrace::Init(env, exports); }

NODE_API_MODULE(cvmtrace, InitAddon)
