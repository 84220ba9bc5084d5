#include "recorder.h"

#include <deque>
#include <memory>
#include <string>

#include "../core/recorder.h"
#include "../core/secure_execution.h"
#include "block.h"
#include "environment.h"
#include "js_error.h"

namespace cvmtrace {
namespace {

// As in native/native.ts; a batch of no rows has no columns.
Napi::Value ToRecordedBatch(Napi::Env env, std::unique_ptr<RecordedBatch> batch) {
  const size_t rows = batch->rows();
  Block block(env, *batch);
  auto columns = Napi::Object::New(env);
  auto validity = Napi::Object::New(env);
  columns.Set("ts_ns", block.Array(batch->ts_ns, rows));
#define CVMTRACE_SET_COLUMN(name, type, bit)                           \
  if (batch->name) columns.Set(#name, block.Array(batch->name, rows)); \
  if (batch->bitmap.name) validity.Set(#name, block.Array(batch->bitmap.name, (rows + 7) / 8));
  CVMTRACE_RECORDED_COLUMNS(CVMTRACE_SET_COLUMN)
#undef CVMTRACE_SET_COLUMN

  // Node-API has no maps.
  auto entries = Napi::Array::New(env, batch->details().size());
  uint32_t index = 0;
  for (const auto& [row, text] : batch->details()) {
    auto entry = Napi::Array::New(env, 2);
    entry.Set(0u, row);
    entry.Set(1u, text);
    entries.Set(index++, entry);
  }
  const auto map = env.Global().Get("Map").As<Napi::Function>();

  auto recorded = Napi::Object::New(env);
  recorded.Set("rows", static_cast<double>(rows));
  recorded.Set("op", block.Array(reinterpret_cast<const uint8_t*>(batch->op), rows));
  recorded.Set("errno", block.Array(batch->error, rows));
  recorded.Set("columns", columns);
  recorded.Set("validity", validity);
  recorded.Set("detail", map.New({entries}));
  return recorded;
}

// Everything here runs on the thread of its JavaScript environment, but for what the recorder's thread hands over
// through `channel_`.
class RecorderObject : public std::enable_shared_from_this<RecorderObject> {
 public:
  explicit RecorderObject(Napi::Env env) : env_(env) {}
  ~RecorderObject() { Shutdown(); }

  // Null, or why there is no recorder.
  std::unique_ptr<Error> Open(const RecorderOptions& options);
  const Recorder& recorder() const { return *recorder_; }

  Napi::Value Next();
  Napi::Value Mark(const Napi::CallbackInfo& info);
  Napi::Value Totals() const;
  void Stop() {
    if (recorder_) recorder_->Stop();
  }
  void Close();

 private:
  // A batch, or none at the end. It can arrive after the object is gone.
  struct Message {
    std::weak_ptr<RecorderObject> object;
    std::unique_ptr<RecordedBatch> batch;
  };
  static void Receive(Napi::Env env, Napi::Function, void*, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<void, Message, Receive>;

  void Deliver(std::unique_ptr<RecordedBatch> batch);
  void Shutdown();
  static void OnEnvironmentExit(void* object) { static_cast<RecorderObject*>(object)->Shutdown(); }

  const Napi::Env env_;
  Channel channel_;
  bool channel_open_ = false;
  // What the recorder's thread still owes. While there is any, `self_` keeps the object alive, and the channel the
  // process.
  std::deque<Napi::Promise::Deferred> owed_;
  std::shared_ptr<RecorderObject> self_;
  // Of a recorder that is closed.
  RecorderTotals totals_;
  // Last, so that its thread ends before anything that it uses.
  std::unique_ptr<Recorder> recorder_;
};

std::unique_ptr<Error> RecorderObject::Open(const RecorderOptions& options) {
  auto recorder = Recorder::Create(options, [this](std::unique_ptr<RecordedBatch> batch) {
    auto message = std::make_unique<Message>(Message{weak_from_this(), std::move(batch)});
    // Refused only while the environment is torn down, when nobody waits for the rows any more.
    if (channel_.NonBlockingCall(message.get()) == napi_ok) static_cast<void>(message.release());
  });
  if (!recorder) return std::make_unique<Error>(recorder.error());
  recorder_ = std::move(recorder).value();
  // Nothing is delivered before it is asked for.
  channel_ = Channel::New(env_, "cvmtrace recorder", 0, 1);
  channel_.Unref(env_);
  // Hooks run last in, first out: the thread has to be gone before the channel's own hook takes the channel away.
  napi_add_env_cleanup_hook(env_, OnEnvironmentExit, this);
  channel_open_ = true;
  return nullptr;
}

Napi::Value RecorderObject::Next() {
  const auto deferred = Napi::Promise::Deferred::New(env_);
  if (!recorder_) {
    deferred.Resolve(env_.Null());
    return deferred.Promise();
  }
  owed_.push_back(deferred);
  if (!self_) {
    self_ = shared_from_this();
    channel_.Ref(env_);
  }
  recorder_->Request();
  return deferred.Promise();
}

Napi::Value RecorderObject::Mark(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsBigInt()) return ThrowTypeError(env_, "a mark is a string and a bigint");
  bool lossless = false;
  const uint64_t ts_ns = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
  if (recorder_) recorder_->Mark(info[0].As<Napi::String>().Utf8Value(), ts_ns);
  return env_.Undefined();
}

Napi::Value RecorderObject::Totals() const {
  const RecorderTotals totals = recorder_ ? recorder_->totals() : totals_;
  auto object = Napi::Object::New(env_);
  const auto set = [&](const char* name, uint64_t value) { object.Set(name, static_cast<double>(value)); };
  set("processes", totals.processes);
  set("liveProcesses", totals.live_processes);
  set("threads", totals.threads);
  set("vcpus", totals.vcpus);
  set("rows", totals.rows);
  set("dropped", totals.dropped);
  set("droppedWithoutSlot", totals.dropped_without_slot);
  set("unreadable", totals.unreadable);
  set("damaged", totals.damaged);
  set("blockedNs", totals.blocked_ns);
  set("longExits", totals.long_exits);
  return object;
}

void RecorderObject::Close() {
  if (!recorder_) return;
  // What was delivered before arrives when nothing is owed any more.
  auto owed = std::exchange(owed_, {});
  const std::shared_ptr<RecorderObject> alive = shared_from_this();
  Shutdown();
  for (const Napi::Promise::Deferred& deferred : owed) deferred.Resolve(env_.Null());
}

void RecorderObject::Receive(Napi::Env env, Napi::Function, void*, Message* message) {
  const std::unique_ptr<Message> owned(message);
  const std::shared_ptr<RecorderObject> object = owned->object.lock();
  // After Shutdown() messages only arrive to be freed; the environment may be past running JavaScript, or gone.
  if (object && object->channel_open_ && RunsJavaScript(env)) object->Deliver(std::move(owned->batch));
}

void RecorderObject::Deliver(std::unique_ptr<RecordedBatch> batch) {
  if (owed_.empty()) return;
  const Napi::Promise::Deferred deferred = owed_.front();
  owed_.pop_front();
  const Napi::Value recorded = batch ? ToRecordedBatch(env_, std::move(batch)) : env_.Null();
  if (env_.IsExceptionPending()) {
    deferred.Reject(env_.GetAndClearPendingException().Value());
  } else {
    deferred.Resolve(recorded);
  }
  if (owed_.empty()) {
    channel_.Unref(env_);
    self_.reset();
  }
}

// It is closed, the collector found it, or the environment ends: the thread is waited for here.
void RecorderObject::Shutdown() {
  if (recorder_) totals_ = recorder_->totals();
  recorder_.reset();
  if (channel_open_) {
    channel_open_ = false;
    napi_remove_env_cleanup_hook(env_, OnEnvironmentExit, this);
    channel_.Release();
  }
  self_.reset();
}

// Empty, or what is wrong with `RecorderOptions`. A getter that throws leaves its exception pending.
std::string ReadRecorderOptions(Napi::Value value, RecorderOptions* options) {
  if (!value.IsObject()) return "the options are not an object";
  const auto object = value.As<Napi::Object>();
  const Napi::Value ring = object.Get("ringBytes");
  const Napi::Value full = object.Get("onFull");
  const Napi::Value period = object.Get("counterPeriodMs");
  if (object.Env().IsExceptionPending()) return {};
  const double bytes = ring.IsNumber() ? ring.As<Napi::Number>().DoubleValue() : 0;
  if (!(bytes >= kMinRingBytes && bytes <= kMaxRingBytes)) return "ringBytes is not a number from 4096 to 1073741824";
  options->ring_bytes = static_cast<uint64_t>(bytes);
  const std::string on_full = full.IsString() ? full.As<Napi::String>().Utf8Value() : "";
  if (on_full != "block" && on_full != "drop") return "onFull is neither block nor drop";
  options->block_when_full = on_full == "block";
  if (!period.IsUndefined()) {
    const double ms = period.IsNumber() ? period.As<Napi::Number>().DoubleValue() : 0;
    if (!(ms >= 1 && ms <= 3'600'000)) return "counterPeriodMs is not a number from 1 to 3600000";
    options->drain.counter_period_ns = static_cast<uint64_t>(ms * 1e6);
  }
  return {};
}

}  // namespace

Napi::Value CreateRecorder(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  RecorderOptions options;
  const std::string problem = ReadRecorderOptions(info[0], &options);
  if (env.IsExceptionPending()) return env.Undefined();
  if (!problem.empty()) return ThrowTypeError(env, problem.c_str());
  const auto recorder = std::make_shared<RecorderObject>(env);
  if (const auto error = recorder->Open(options)) return ThrowSystemError(env, *error);

  auto object = Napi::Object::New(env);
  const auto method = [&](const char* name, auto body) { object.Set(name, Napi::Function::New(env, body, name)); };
  method("next", [recorder](const Napi::CallbackInfo&) { return recorder->Next(); });
  method("mark", [recorder](const Napi::CallbackInfo& call) { return recorder->Mark(call); });
  method("stop", [recorder](const Napi::CallbackInfo&) { recorder->Stop(); });
  method("totals", [recorder](const Napi::CallbackInfo&) { return recorder->Totals(); });
  method("close", [recorder](const Napi::CallbackInfo&) { recorder->Close(); });
  object.Set("path", recorder->recorder().path());
  object.Set("clockBaseNs", Napi::BigInt::New(env, recorder->recorder().clock_base_ns()));
  return object;
}

Napi::Value SecureExecutionOf(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) return ThrowTypeError(info.Env(), "the path is not a string");
  return Napi::String::New(info.Env(), SecureExecution(info[0].As<Napi::String>().Utf8Value()));
}

}  // namespace cvmtrace
