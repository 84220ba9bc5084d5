// Whether an environment that is being torn down still runs JavaScript.
#pragma once

#include <napi.h>

namespace cvmtrace {

// False while a worker thread ends: what other threads have sent still arrives then, before the cleanup hooks, and a
// call into JavaScript would end the process.
inline bool RunsJavaScript(Napi::Env env) {
  napi_value object;
  // Any call that could run a setter says it.
  return napi_create_object(env, &object) == napi_ok &&
         napi_set_named_property(env, object, "value", object) == napi_ok;
}

}  // namespace cvmtrace
