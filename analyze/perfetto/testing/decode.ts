/** Perfetto traces as an independent decoder (@bufbuild/protobuf) reads them with Perfetto's own schema. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { create, createFileRegistry, fromBinary, isMessage, toJson, type FileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, type DescriptorProto } from '@bufbuild/protobuf/wkt';
import { PACKAGE_ROOT } from '../../../native/index.ts';

/** What of TracePacket our traces have, as protobuf's JSON mapping has it: integers of 64 bits are strings, enums their names. */
export interface Packet {
  readonly trustedPacketSequenceId: number;
  readonly sequenceFlags?: number;
  readonly timestamp?: string;
  readonly tracePacketDefaults?: { readonly timestampClockId: number };
  readonly clockSnapshot?: {
    readonly clocks: readonly { readonly clockId: number; readonly timestamp: string }[];
    readonly primaryTraceClock: string;
  };
  readonly internedData?: { readonly eventNames?: readonly Name[]; readonly debugAnnotationNames?: readonly Name[] };
  readonly trackDescriptor?: {
    readonly uuid: string;
    readonly parentUuid?: string;
    readonly name?: string;
    readonly process?: { readonly pid: number; readonly processName: string };
    readonly thread?: { readonly pid: number; readonly tid: string; readonly threadName: string };
    readonly counter?: { readonly unit: string };
    readonly childOrdering?: string;
    readonly siblingOrderRank?: number;
  };
  readonly trackEvent?: {
    readonly type: 'TYPE_SLICE_BEGIN' | 'TYPE_SLICE_END' | 'TYPE_INSTANT' | 'TYPE_COUNTER';
    readonly trackUuid: string;
    readonly nameIid?: string;
    readonly name?: string;
    readonly counterValue?: string;
    readonly debugAnnotations?: readonly {
      readonly nameIid: string;
      readonly uintValue?: string;
      readonly intValue?: string;
      readonly pointerValue?: string;
      readonly stringValue?: string;
    }[];
  };
}

interface Name {
  readonly iid: string;
  readonly name: string;
}

let registry: FileRegistry | undefined;

function schema(): FileRegistry {
  if (!registry) {
    const path = join(PACKAGE_ROOT, 'analyze', 'perfetto', 'testdata', 'perfetto_trace.descriptor.gz');
    const file = fromBinary(FileDescriptorProtoSchema, gunzipSync(readFileSync(path)));
    file.messageType.forEach(nameForJson);
    registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  }
  return registry;
}

/** protoc leaves the names of protobuf's JSON mapping out of descriptors that it embeds in Python. */
function nameForJson(message: DescriptorProto): void {
  for (const field of message.field) {
    field.jsonName = field.name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  }
  message.nestedType.forEach(nameForJson);
}

/**
 * The packets of a trace.
 * @throws Error if it is no message of the schema, or has a field that the schema does not.
 */
export function decodePerfetto(bytes: Uint8Array): readonly Packet[] {
  const trace = schema().getMessage('perfetto.protos.Trace');
  if (!trace) throw new Error('the schema has no Trace');
  const message = fromBinary(trace, bytes);
  refuseUnknown(message);
  return (toJson(trace, message) as unknown as { readonly packet?: readonly Packet[] }).packet ?? [];
}

function refuseUnknown(value: unknown): void {
  if (Array.isArray(value)) value.forEach(refuseUnknown);
  if (typeof value !== 'object' || value === null) return;
  // A oneof is an object without a type: what it holds is looked at all the same.
  if (isMessage(value) && (value.$unknown?.length ?? 0) > 0) {
    throw new Error(`${value.$typeName} with a field ${value.$unknown?.[0]?.no} that is not in the schema`);
  }
  if (!(value instanceof Uint8Array)) Object.values(value).forEach(refuseUnknown);
}
