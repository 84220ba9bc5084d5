#include "columns.h"

#include "block.h"

namespace cvmtrace {
Napi::Value ToExecutedBatch(Napi::Env env, std::unique_ptr<Batch> batch) {
  const size_t rows = batch->rows;
  Block block(env, *batch);
  auto columns = Napi::Object::New(env);
  auto validity = Napi::Object::New(env);
  columns.Set("ts_ns", block.Array(batch->ts_ns, rows));
#define CVMTRACE_SET_COLUMN(name, type)                                    \
  if (column_index::name != column_index::lag_ns || batch->paced()) {      \
    columns.Set(#name, block.Array(batch->name, rows));                    \
    if (const uint8_t* const bitmap = batch->bitmap(column_index::name)) { \
      validity.Set(#name, block.Array(bitmap, (rows + 7) / 8));            \
    }                                                                      \
  }
  CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_SET_COLUMN)
#undef CVMTRACE_SET_COLUMN

  auto executed = Napi::Object::New(env);
  executed.Set("rows", static_cast<double>(rows));
  executed.Set("op", block.Array(reinterpret_cast<const uint8_t*>(batch->op), rows));
  executed.Set("errno", block.Array(batch->error, rows));
  executed.Set("columns", columns);
  executed.Set("validity", validity);
  executed.Set("tid", batch->tid);
  executed.Set("failures", static_cast<double>(batch->failures));
  executed.Set("stopped", batch->stopped);
  return executed;
}

}  // namespace cvmtrace
