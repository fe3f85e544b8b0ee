// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The public surface of libbpf-ts, sorted by file; README.md has it by purpose. */

export * from './btf.js';
export * from './btf-ext.js';
export * from './btf-parser.js';
export { type Clang, findClang } from './clang.js';
export * from './codec.js';
export { type CompileOptions, type CompileResult, compileBpf, type Flavour } from './compile.js';
export { possibleCpus } from './cpus.js';
export { type DeviceSocketOptions, openDeviceSocket } from './device-socket.js';
export * from './elf.js';
export * from './errors.js';
export type { BpfKind } from './fd.js';
export {
  type FeatureName,
  feature,
  hasHelper,
  isFeatureName,
  type KernelFeature,
  type KernelFeatures,
  probeFeatures,
} from './features.js';
export { type AcquireOptions, FileLock, LockTimeoutError } from './file-lock.js';
export { checkFloor, programSizes } from './floor.js';
export type { FloorRule, Violation } from './floor-report.js';
export { countInstructions, type FunctionSpec, readFunctions } from './function-spec.js';
export { type GenerateOptions, generateLayouts } from './generate.js';
export type { Direction, ProgramHandle } from './hook.js';
export type { MapInfo, ProgramInfo } from './info.js';
export { isPerCpu, MapFlag, type MapType, type ProgramType } from './kernel-types.js';
export * from './layout.js';
export { BpfLink, type LinkInfo, type LinkType } from './link.js';
export { BpfMap } from './map.js';
export { batchSupported } from './map-batch.js';
export type { Batch, FromFdOptions, MapOptions, SetMode } from './map-options.js';
export * from './map-spec.js';
export { MemoryMap } from './memory-map.js';
export { currentNetnsInode, netnsPath, setNetns, withNetns, withPrivateNetns } from './netns.js';
export { listNftTables } from './nft-tables.js';
export { BpfObject, type ObjectOptions } from './object.js';
export { isInKernel } from './object-id.js';
export { ObjectMap } from './object-map.js';
export { PerfBuffer, type PerfBufferOptions } from './perf-buffer.js';
export {
  BPFFS_PATH,
  ensurePinDirectory,
  isBpffs,
  listPins,
  mountBpffs,
  type Pin,
  pinKind,
  removePin,
  removePinDirectory,
} from './pin.js';
export { BpfProgram } from './program.js';
export { RecordStream, type StreamOptions } from './record-stream.js';
export { RingBuffer, type RingBufferOptions } from './ring-buffer.js';
export {
  type AddressFlag,
  type InterfaceAddress,
  type IpFamily,
  type Link,
  listAddresses,
  listLinks,
  listRules,
  type Neighbour,
  type NetworkEvent,
  NetworkWatch,
  type Route,
  type Rule,
  type WatchTopics,
  watch,
} from './rtnetlink.js';
export * from './shape.js';
export * from './struct-layout.js';
export {
  type AttachTcOptions,
  attachTc,
  createClsact,
  destroyClsact,
  detachTc,
  listTcFilters,
  queryTc,
  type TcFilter,
  type TcFilterEntry,
  type TcPosition,
} from './tc.js';
export { type AttachTcxOptions, attachTcx, queryTcx, TCX_ATTACH_TYPES } from './tcx.js';
export type { TestRunOptions, TestRunResult } from './test-run.js';
export { be16, be32, bytes, TypedMap, u32, u64 } from './typed-map.js';
export {
  type AttachXdpLinkOptions,
  type AttachXdpOptions,
  attachXdp,
  attachXdpLink,
  detachXdp,
  queryXdp,
  type XdpAttachment,
  type XdpMode,
  type XdpState,
} from './xdp.js';
export { type XdpFeatures, xdpFeatures } from './xdp-features.js';
