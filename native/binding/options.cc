#include "options.h"

#include <math.h>

namespace cvmtrace {
namespace {

std::string ReadPace(const Napi::Value& value, Pace* pace) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
  if (name == "asap") {
    *pace = Pace::kAsap;
  } else if (name == "absolute") {
    *pace = Pace::kAbsolute;
  } else if (name == "relative") {
    *pace = Pace::kRelative;
  } else {
    return "pace is not 'asap', 'absolute' or 'relative'";
  }
  return {};
}

}  // namespace

std::string ReadOptions(Napi::Value value, BatchOptions* options) {
  if (value.IsUndefined()) return {};
  if (!value.IsObject()) return "the options are not an object";
  const auto object = value.As<Napi::Object>();
  if (const Napi::Value stop = object.Get("stopAtFailure"); !stop.IsEmpty() && !stop.IsUndefined()) {
    if (!stop.IsBoolean()) return "stopAtFailure is not a boolean";
    options->stop_at_failure = stop.As<Napi::Boolean>();
  }
  if (const Napi::Value pace = object.Get("pace"); !pace.IsEmpty() && !pace.IsUndefined()) {
    if (std::string problem = ReadPace(pace, &options->pace); !problem.empty()) return problem;
  }
  if (const Napi::Value factor = object.Get("paceFactor"); !factor.IsEmpty() && !factor.IsUndefined()) {
    if (!factor.IsNumber()) return "paceFactor is not a number";
    options->pace_factor = factor.As<Napi::Number>().DoubleValue();
    if (!isfinite(options->pace_factor) || options->pace_factor <= 0)
      return "paceFactor is not a finite number above 0";
  }
  return {};
}

}  // namespace cvmtrace
