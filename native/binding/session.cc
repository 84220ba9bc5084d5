#include "session.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "../core/executor.h"
#include "../core/residency.h"
#include "columns.h"
#include "environment.h"
#include "guest.h"
#include "js_error.h"
#include "options.h"

namespace cvmtrace {
namespace {

// Everything here runs on the thread of its JavaScript environment, but for what the executor's thread hands over
// through `channel_`.
class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Napi::Env env)
      : env_(env),
        executor_([this](std::unique_ptr<Batch> batch) { Send(std::move(batch), nullptr); },
                  [this](std::unique_ptr<GuestRun> guest) { Send(nullptr, std::move(guest)); }) {}
  ~Session() { Shutdown(); }

  Napi::Value Execute(const Napi::CallbackInfo& info);
  Napi::Value RunGuest(const Napi::CallbackInfo& info);
  Napi::Value Close();
  void Cancel() { executor_.Cancel(); }
  Napi::Value ResidentPages(Napi::Value number) const;
  Napi::Value ResidentBytes(Napi::Value number) const;
  uint64_t clock_base_ns() const { return executor_.clock_base_ns(); }
  uint32_t open_objects() const { return executor_.objects().count(); }

 private:
  // What the executor's thread sends: a batch or guest run that is over, or none when the thread has ended. It can
  // arrive after the session is gone.
  struct Message {
    std::weak_ptr<Session> session;
    std::unique_ptr<Batch> batch;
    std::unique_ptr<GuestRun> guest;
  };
  static void Receive(Napi::Env env, Napi::Function, void*, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<void, Message, Receive>;

  // Submits what `read` makes of the operands, with the options of the call's second argument.
  template <typename Work, typename Read>
  Napi::Value Queue(const Napi::CallbackInfo& info, Read read);
  void Send(std::unique_ptr<Batch> batch, std::unique_ptr<GuestRun> guest);
  void OpenChannel();
  void CloseChannel();
  void StayAlive();
  void Deliver(Message& message);
  void ThreadEnded();
  void Shutdown();
  static void OnEnvironmentExit(void* session) { static_cast<Session*>(session)->Shutdown(); }

  const Napi::Env env_;
  // From the executor's thread to this one; open as long as there is such a thread.
  Channel channel_;
  bool channel_open_ = false;
  bool closing_ = false;
  // What the executor still owes, in its order. While there is any, `self_` keeps the session alive, and the channel
  // the process.
  std::deque<Napi::Promise::Deferred> owed_;
  std::vector<Napi::Promise::Deferred> closes_;
  std::shared_ptr<Session> self_;
  // Last, so that its thread ends before anything that it uses.
  Executor executor_;
};

template <typename Work, typename Read>
Napi::Value Session::Queue(const Napi::CallbackInfo& info, Read read) {
  const auto deferred = Napi::Promise::Deferred::New(env_);
  const auto reject = [&](Napi::Value reason) {
    deferred.Reject(reason);
    return deferred.Promise();
  };
  if (closing_) return reject(ClosedError(env_));
  BatchOptions options;
  std::unique_ptr<Work> work;
  std::string problem = ReadOptions(info[1], &options);
  if (problem.empty() && !env_.IsExceptionPending()) problem = read(options, &work);
  if (env_.IsExceptionPending()) return reject(env_.GetAndClearPendingException().Value());
  if (!problem.empty()) return reject(Napi::TypeError::New(env_, problem).Value());
  OpenChannel();
  if (const int error = executor_.Submit(work)) {
    CloseChannel();
    return reject(SystemError(env_, Error{error, "pthread_create", {}}));
  }
  owed_.push_back(deferred);
  StayAlive();
  return deferred.Promise();
}

Napi::Value Session::Execute(const Napi::CallbackInfo& info) {
  return Queue<Batch>(info, [&](const BatchOptions& options, std::unique_ptr<Batch>* batch) -> std::string {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
      return "the batch is not a Float64Array";
    }
    const auto words = info[0].As<Napi::Float64Array>();
    auto decoded = Batch::Decode(words.Data(), words.ElementLength(), options);
    if (const Malformed* const malformed = std::get_if<Malformed>(&decoded)) return malformed->message;
    *batch = std::move(*std::get_if<0>(&decoded));
    return {};
  });
}

Napi::Value Session::RunGuest(const Napi::CallbackInfo& info) {
  return Queue<GuestRun>(info, [&](const BatchOptions& options, std::unique_ptr<GuestRun>* run) {
    *run = std::make_unique<GuestRun>();
    return ReadGuestRun(info[0], options, run->get());
  });
}

Napi::Value Session::Close() {
  const auto deferred = Napi::Promise::Deferred::New(env_);
  closing_ = true;
  if (channel_open_) {
    if (closes_.empty()) executor_.RequestStop();
    closes_.push_back(deferred);
    StayAlive();
  } else {
    deferred.Resolve(env_.Undefined());
  }
  return deferred.Promise();
}

Napi::Value Session::ResidentPages(Napi::Value number) const {
  if (!number.IsNumber()) return ThrowTypeError(env_, "the object's number is not a number");
  auto bits = executor_.objects().WithObject(number.As<Napi::Number>().Uint32Value(), cvmtrace::ResidentPages);
  if (!bits) return ThrowSystemError(env_, bits.error());
  auto array = Napi::Uint8Array::New(env_, bits.value().size());
  if (!env_.IsExceptionPending()) std::copy(bits.value().begin(), bits.value().end(), array.Data());
  return array;
}

Napi::Value Session::ResidentBytes(Napi::Value number) const {
  if (!number.IsNumber()) return ThrowTypeError(env_, "the object's number is not a number");
  auto bytes = executor_.objects().WithObject(number.As<Napi::Number>().Uint32Value(), cvmtrace::ResidentBytes);
  if (!bytes) return ThrowSystemError(env_, bytes.error());
  return Napi::Number::New(env_, static_cast<double>(bytes.value()));
}

void Session::Send(std::unique_ptr<Batch> batch, std::unique_ptr<GuestRun> guest) {
  auto message = std::make_unique<Message>(Message{weak_from_this(), std::move(batch), std::move(guest)});
  // Refused only while the environment is torn down, when nobody waits for the rows any more.
  if (channel_.NonBlockingCall(message.get()) == napi_ok) static_cast<void>(message.release());
}

void Session::Receive(Napi::Env env, Napi::Function, void*, Message* message) {
  const std::unique_ptr<Message> owned(message);
  const std::shared_ptr<Session> session = owned->session.lock();
  // After Shutdown() messages only arrive to be freed; the environment may be past running JavaScript, or gone.
  if (!session || !session->channel_open_ || !RunsJavaScript(env)) return;
  if (owned->batch || owned->guest) {
    session->Deliver(*owned);
  } else {
    session->ThreadEnded();
  }
}

void Session::Deliver(Message& message) {
  const Napi::Promise::Deferred deferred = owed_.front();
  owed_.pop_front();
  const bool failed = message.guest && message.guest->failure;
  const Napi::Value executed = message.batch ? ToExecutedBatch(env_, std::move(message.batch))
                               : failed      ? GuestErrorOf(env_, *message.guest)
                                             : ToExecutedBatches(env_, *message.guest);
  if (env_.IsExceptionPending()) {
    deferred.Reject(env_.GetAndClearPendingException().Value());
  } else if (failed) {
    deferred.Reject(executed);
  } else {
    deferred.Resolve(executed);
  }
  if (owed_.empty() && closes_.empty()) {
    channel_.Unref(env_);
    self_.reset();
  }
}

void Session::ThreadEnded() {
  self_.reset();
  executor_.Join();
  CloseChannel();
  for (const Napi::Promise::Deferred& close : closes_) close.Resolve(env_.Undefined());
  closes_.clear();
}

void Session::OpenChannel() {
  if (channel_open_) return;
  channel_ = Channel::New(env_, "cvmtrace", 0, 1);
  channel_.Unref(env_);
  // Hooks run last in, first out: the thread has to be gone before the channel's own hook takes the channel away.
  napi_add_env_cleanup_hook(env_, OnEnvironmentExit, this);
  channel_open_ = true;
}

void Session::CloseChannel() {
  if (!channel_open_) return;
  channel_open_ = false;
  napi_remove_env_cleanup_hook(env_, OnEnvironmentExit, this);
  channel_.Release();
}

void Session::StayAlive() {
  if (self_) return;
  self_ = shared_from_this();
  channel_.Ref(env_);
}

// The collector found the session, or the environment ends: the thread is waited for here, then all objects are closed.
void Session::Shutdown() {
  closing_ = true;
  executor_.RequestStop();
  executor_.Join();
  CloseChannel();
  // Not on the way out of ~Session: then it is empty, as the session would live otherwise.
  self_.reset();
}

}  // namespace

Napi::Value CreateSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto session = std::make_shared<Session>(env);
  auto object = Napi::Object::New(env);
  const auto method = [&](const char* name, auto body) { object.Set(name, Napi::Function::New(env, body, name)); };
  method("execute", [session](const Napi::CallbackInfo& call) { return session->Execute(call); });
  method("runGuest", [session](const Napi::CallbackInfo& call) { return session->RunGuest(call); });
  method("cancel", [session](const Napi::CallbackInfo&) { session->Cancel(); });
  method("residentPages", [session](const Napi::CallbackInfo& call) { return session->ResidentPages(call[0]); });
  method("residentBytes", [session](const Napi::CallbackInfo& call) { return session->ResidentBytes(call[0]); });
  method("close", [session](const Napi::CallbackInfo&) { return session->Close(); });
  object.Set("clockBaseNs", Napi::BigInt::New(env, session->clock_base_ns()));
  object.DefineProperty(Napi::PropertyDescriptor::Accessor(
      env, object, "openObjects",
      [session](const Napi::CallbackInfo& call) -> Napi::Value {
        return Napi::Number::New(call.Env(), session->open_objects());
      },
      napi_enumerable));
  return object;
}

}  // namespace cvmtrace
