#include "guest.h"

#include <math.h>

#include "columns.h"
#include "js_error.h"

namespace cvmtrace {
namespace {

constexpr double kMaxGpa = 9007199254740991.0;  // 2^53 - 1

// Whole number from 0 to `limit`.
bool ReadNumber(const Napi::Value& value, double limit, double* number) {
  if (value.IsEmpty() || !value.IsNumber()) return false;
  *number = value.As<Napi::Number>().DoubleValue();
  return *number >= 0 && *number <= limit && *number == trunc(*number);
}

bool ReadObject(const Napi::Value& value, uint32_t* object) {
  double number = 0;
  if (!ReadNumber(value, UINT32_MAX, &number)) return false;
  *object = static_cast<uint32_t>(number);
  return true;
}

std::string ReadVcpu(const Napi::Value& value, const BatchOptions& options, GuestRun::VcpuBatch* vcpu) {
  if (value.IsEmpty() || !value.IsObject()) return "a vCPU of the guest's plan is not an object";
  const auto object = value.As<Napi::Object>();
  if (!ReadObject(object.Get("obj"), &vcpu->obj)) return "the object's number of a vCPU is not a whole number";
  const Napi::Value words = object.Get("words");
  if (words.IsEmpty() || !words.IsTypedArray() || words.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    return "the batch of a vCPU is not a Float64Array";
  }
  const auto array = words.As<Napi::Float64Array>();
  auto decoded = Batch::Decode(array.Data(), array.ElementLength(), options);
  if (const Malformed* const malformed = std::get_if<Malformed>(&decoded)) {
    return "vCPU " + std::to_string(vcpu->obj) + ": " + malformed->message;
  }
  vcpu->batch = std::move(*std::get_if<0>(&decoded));
  return {};
}

}  // namespace

std::string ReadGuestRun(Napi::Value plan, const BatchOptions& options, GuestRun* run) {
  if (!plan.IsObject()) return "the guest's plan is not an object";
  const auto object = plan.As<Napi::Object>();
  if (!ReadObject(object.Get("vm"), &run->vm)) return "vm is not a whole number";
  const Napi::Value memory = object.Get("memory");
  if (memory.IsEmpty() || !memory.IsObject()) return "memory is not an object";
  if (!ReadObject(memory.As<Napi::Object>().Get("obj"), &run->memory_obj)) return "memory.obj is not a whole number";
  double gpa = 0;
  if (!ReadNumber(memory.As<Napi::Object>().Get("gpa"), kMaxGpa, &gpa)) return "memory.gpa is not a whole number";
  run->memory_gpa = static_cast<uint64_t>(gpa);
  const Napi::Value vcpus = object.Get("vcpus");
  if (vcpus.IsEmpty() || !vcpus.IsArray()) return "vcpus is not an array";
  const auto array = vcpus.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    GuestRun::VcpuBatch vcpu = {};
    if (std::string problem = ReadVcpu(array.Get(i), options, &vcpu); !problem.empty()) return problem;
    run->vcpus.push_back(std::move(vcpu));
  }
  return {};
}

Napi::Value ToExecutedBatches(Napi::Env env, GuestRun& run) {
  auto batches = Napi::Array::New(env, run.vcpus.size());
  for (uint32_t i = 0; i < run.vcpus.size(); ++i) batches.Set(i, ToExecutedBatch(env, std::move(run.vcpus[i].batch)));
  return batches;
}

Napi::Value GuestErrorOf(Napi::Env env, GuestRun& run) {
  Error error = *run.failure;
  if (run.failed_vcpu) error.detail = "vCPU object " + std::to_string(run.failed_vcpu) + ", " + error.detail;
  Napi::Object value;
  if (error.code == 0) {
    value = Napi::Error::New(env, error.detail).Value();
    value.Set("code", "ERR_GUEST");
  } else {
    value = SystemError(env, error).As<Napi::Object>();
  }
  value.Set("batches", ToExecutedBatches(env, run));
  return value;
}

Napi::Value GuestMemoryBytes(const Napi::CallbackInfo& info) {
  double gpa = 0;
  double vcpus = 0;
  if (!ReadNumber(info[0], kMaxGpa, &gpa)) return ThrowTypeError(info.Env(), "gpa is not a whole number");
  if (!ReadNumber(info[1], UINT16_MAX, &vcpus)) return ThrowTypeError(info.Env(), "vcpus is not a whole number");
  const uint64_t bytes = GuestArea::BytesFor(static_cast<uint64_t>(gpa), static_cast<size_t>(vcpus));
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

}  // namespace cvmtrace
