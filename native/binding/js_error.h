// Core errors as JavaScript errors.
#pragma once

#include <napi.h>

#include "../core/result.h"

namespace cvmtrace {

// An Error like those of Node's own file functions: `code` "ENOSYS", `errno` -38, `syscall` "cachestat".
Napi::Value SystemError(Napi::Env env, const Error& error);

// What `execute` rejects with after `close`: `code` is "ERR_SESSION_CLOSED".
Napi::Value ClosedError(Napi::Env env);

// Leave the error pending, and return what a function returns then.
Napi::Value ThrowSystemError(Napi::Env env, const Error& error);
Napi::Value ThrowTypeError(Napi::Env env, const char* message);

}  // namespace cvmtrace
