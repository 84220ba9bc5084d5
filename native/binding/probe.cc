#include "probe.h"

#include "../core/probe.h"

namespace cvmtrace {

Napi::Value ProbeHost(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto attempts = Napi::Object::New(env);
  for (const Attempt& attempt : RunProbe()) {
    auto value = Napi::Object::New(env);
    value.Set("errno", attempt.error);
    value.Set("call", attempt.call);
    if (attempt.value) value.Set("value", static_cast<double>(*attempt.value));
    attempts.Set(attempt.key, value);
  }
  auto facts = Napi::Object::New(env);
  facts.Set("attempts", attempts);
  return facts;
}

}  // namespace cvmtrace
