#include "js_error.h"

#include <string.h>

#include <string>

#include "../core/errno_name.h"

namespace cvmtrace {

Napi::Value SystemError(Napi::Env env, const Error& error) {
  const char* const code = ErrnoName(error.code);
  std::string message = std::string(code) + ": " + strerror(error.code) + ", " + error.call;
  if (!error.detail.empty()) message += " (" + error.detail + ")";
  Napi::Object value = Napi::Error::New(env, message).Value();
  value.Set("code", code);
  value.Set("errno", -error.code);
  value.Set("syscall", error.call);
  return value;
}

Napi::Value ClosedError(Napi::Env env) {
  Napi::Object value = Napi::Error::New(env, "the session is closed").Value();
  value.Set("code", "ERR_SESSION_CLOSED");
  return value;
}

Napi::Value ThrowSystemError(Napi::Env env, const Error& error) {
  napi_throw(env, SystemError(env, error));
  return env.Undefined();
}

Napi::Value ThrowTypeError(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace cvmtrace
