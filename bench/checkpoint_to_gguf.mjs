// Writes a Nemotron-H checkpoint folder (BF16, FP8, NVFP4) as GGUF, for llama.cpp's benchmark or its server.
// usage: node checkpoint_to_gguf.mjs CHECKPOINT OUT.gguf [--vocab]      --vocab: with tokenizer and chat template
// NVFP4 stays NVFP4 where a row divides by ggml's block of 64, else it becomes BF16, as FP8 does: ggml has no FP8.
import fs from 'node:fs';
import path from 'node:path';

const [folder, out, vocab] = process.argv.slice(2);
const config = JSON.parse(fs.readFileSync(path.join(folder, 'config.json')));
const TYPES = {f32: 0, bf16: 30, nvfp4: 40};

// Checkpoint.
const tensors = new Map();
for (const name of fs.readdirSync(folder).filter(file => file.endsWith('.safetensors'))) {
  const file = fs.openSync(path.join(folder, name));
  const read = (at, bytes) => {
    const buffer = Buffer.alloc(bytes);
    fs.readSync(file, buffer, 0, bytes, at);
    return buffer;
  };
  const headerBytes = Number(read(0, 8).readBigUInt64LE());
  for (const [tensor, entry] of Object.entries(JSON.parse(read(8, headerBytes)))) {
    if (tensor === '__metadata__') continue;
    const {dtype, shape, data_offsets: [begin, end]} = entry;
    tensors.set(tensor.replace(/^model\./, 'backbone.'),
                {dtype, shape, read: () => read(8 + headerBytes + begin, end - begin)});
  }
}

// Values.
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
const E4M3 = Float32Array.from({length: 256}, (_, code) => {
  const exponent = (code >> 3) & 15, mantissa = code & 7;
  return (code & 128 ? -1 : 1) * (exponent ? 2 ** (exponent - 7) * (1 + mantissa / 8) : 2 ** -9 * mantissa);
});
const product = shape => shape.reduce((a, b) => a * b, 1);

function floats(tensor) {
  const bytes = tensor.read(), values = new Float32Array(product(tensor.shape));
  if (tensor.dtype === 'F32') return values.map((_, i) => bytes.readFloatLE(4 * i));
  if (tensor.dtype !== 'BF16') throw new Error(`${tensor.dtype} where F32 or BF16 is expected`);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = bytes.readUInt16LE(2 * i) << 16;
  return values;
}

function toBf16(values) {
  const bits = new Uint32Array(values.buffer), bytes = Buffer.alloc(2 * values.length);
  for (let i = 0; i < bits.length; i++)
    bytes.writeUInt16LE(((bits[i] + 0x7fff + ((bits[i] >> 16) & 1)) >>> 16) & 0xffff, 2 * i);
  return bytes;
}

const bytesOf = values => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/// A linear weight's columns, rows and GGUF type.
function describe(name) {
  const {dtype, shape: [rows, stored]} = tensors.get(name + '.weight');
  const columns = dtype === 'U8' ? 2 * stored : stored;
  const type = dtype === 'F32' ? TYPES.f32 : dtype === 'U8' && columns % 64 === 0 ? TYPES.nvfp4 : TYPES.bf16;
  return {columns, rows, type};
}

const globalScale = name => floats(tensors.get(name + '.weight_scale_2'))[0];

function convert(name) {
  const {columns, rows, type} = describe(name), weight = tensors.get(name + '.weight'), bytes = weight.read();
  if (weight.dtype === 'F32' || weight.dtype === 'BF16') return bytes;
  const values = new Float32Array(type === TYPES.bf16 ? rows * columns : 0);
  if (weight.dtype === 'F8_E4M3') {
    const scale = floats(tensors.get(name + '.weight_scale'))[0];
    return toBf16(values.map((_, i) => E4M3[bytes[i]] * scale));
  }
  const scales = tensors.get(name + '.weight_scale').read();
  const code = i => (bytes[i >> 1] >> (4 * (i & 1))) & 15;
  if (type === TYPES.bf16) {
    const scale = globalScale(name);
    return toBf16(values.map((_, i) => E2M1[code(i)] * E4M3[scales[i >> 4]] * scale));
  }
  // ggml: 4 scales, then 4 times 8 bytes, byte j with the codes of columns j and j + 8.
  const blocks = Buffer.alloc(rows * columns / 64 * 36);
  for (let block = 0; block < blocks.length / 36; block++)
    for (let part = 0; part < 4; part++) {
      blocks[block * 36 + part] = scales[block * 4 + part] & 127;
      const first = block * 64 + part * 16;
      for (let j = 0; j < 8; j++) blocks[block * 36 + 4 + part * 8 + j] = code(first + j) | (code(first + j + 8) << 4);
    }
  return blocks;
}

// GGUF.
const sized = (bytes, write) => value => {
  const buffer = Buffer.alloc(bytes);
  write(buffer, value);
  return buffer;
};
const u32 = sized(4, (b, v) => b.writeUInt32LE(v)), u64 = sized(8, (b, v) => b.writeBigUInt64LE(BigInt(v)));
const f32 = sized(4, (b, v) => b.writeFloatLE(v));
const text = value => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

const pattern = [...config.hybrid_override_pattern];
const architecture = pattern.includes('E') ? 'nemotron_h_moe' : 'nemotron_h';
const metadata = [];
const put = (key, type, value) => metadata.push(Buffer.concat([text(key), u32(type), value]));
const number = (key, value) => put(`${architecture}.${key}`, 4, u32(value));
const real = (key, value) => put(`${architecture}.${key}`, 6, f32(value));
const truth = (key, value) => put(`${architecture}.${key}`, 7, Buffer.from([value ? 1 : 0]));
const numbers = (key, values) =>
  put(`${architecture}.${key}`, 9, Buffer.concat([u32(4), u64(values.length), ...values.map(u32)]));

/// A byte-level BPE with Tekken's split, as the family's checkpoints and the demo have it.
function putTokenizer() {
  const {model, added_tokens: added} = JSON.parse(fs.readFileSync(path.join(folder, 'tokenizer.json')));
  const pieces = Array.from({length: config.vocab_size}, (_, id) => `<unused_${id}>`);
  for (const [piece, id] of Object.entries(model.vocab)) pieces[id] = piece;
  for (const {id, content} of added) pieces[id] = content;
  const special = new Set(added.filter(token => token.special).map(token => token.id));
  const list = (key, type, items) => put(key, 9, Buffer.concat([u32(type), u64(items.length), ...items]));
  put('tokenizer.ggml.model', 8, text('gpt2'));
  put('tokenizer.ggml.pre', 8, text('tekken'));
  list('tokenizer.ggml.tokens', 8, pieces.map(text));
  list('tokenizer.ggml.token_type', 5, pieces.map((_, id) => u32(special.has(id) ? 3 : 1)));
  list('tokenizer.ggml.merges', 8, model.merges.map(merge => text(Array.isArray(merge) ? merge.join(' ') : merge)));
  put('tokenizer.ggml.bos_token_id', 4, u32(config.bos_token_id));
  put('tokenizer.ggml.eos_token_id', 4, u32(pieces.indexOf('<|im_end|>')));
  put('tokenizer.ggml.add_bos_token', 7, Buffer.from([0]));
  put('tokenizer.chat_template', 8, text(fs.readFileSync(path.join(folder, 'chat_template.jinja'), 'utf8')));
}

const inner = config.mamba_num_heads * config.mamba_head_dim;
const epsilon = config.layer_norm_epsilon ?? config.norm_eps;
put('general.architecture', 8, text(architecture));
put('general.name', 8, text(path.basename(folder)));
if (vocab === '--vocab') putTokenizer();
else put('tokenizer.ggml.model', 8, text('no_vocab'));
number('vocab_size', config.vocab_size);
number('block_count', pattern.length);
number('context_length', config.max_position_embeddings);
number('embedding_length', config.hidden_size);
numbers('feed_forward_length', pattern.map(kind => kind === 'E' ? config.moe_intermediate_size
                                                 : kind === '-' ? config.intermediate_size : 0));
number('attention.head_count', config.num_attention_heads);
numbers('attention.head_count_kv', pattern.map(kind => kind === '*' ? config.num_key_value_heads : 0));
number('attention.key_length', config.head_dim);
number('attention.value_length', config.head_dim);
real('attention.layer_norm_rms_epsilon', epsilon);
real('attention.layer_norm_epsilon', epsilon);
number('rope.dimension_count', config.head_dim);
number('ssm.conv_kernel', config.conv_kernel);
number('ssm.inner_size', inner);
number('ssm.state_size', config.ssm_state_size);
number('ssm.time_step_rank', config.mamba_num_heads);
number('ssm.group_count', config.n_groups);
if (architecture === 'nemotron_h_moe') {
  number('expert_count', config.n_routed_experts);
  number('expert_used_count', config.num_experts_per_tok);
  number('expert_feed_forward_length', config.moe_intermediate_size);
  number('expert_shared_feed_forward_length', config.moe_shared_expert_intermediate_size);
  number('expert_shared_count', 1);
  truth('expert_weights_norm', config.norm_topk_prob);
  real('expert_weights_scale', config.routed_scaling_factor);
  number('expert_group_count', config.n_group);
  number('expert_group_used_count', config.topk_group);
  number('expert_gating_func', 2);
  if (config.moe_latent_size) number('moe_latent_size', config.moe_latent_size);
}

// Tensors: what each is called, its shape, and its bytes piece by piece.
const plan = [];
const bytesPer = {[TYPES.f32]: 4, [TYPES.bf16]: 2, [TYPES.nvfp4]: 36 / 64};
const plain = (name, source, shape, map = value => value) =>
  plan.push({name, shape, type: TYPES.f32, pieces: () => [() => bytesOf(floats(tensors.get(source)).map(map))]});
function bank(name, sources, shape = sources.length > 1 ? [sources.length] : []) {
  const {columns, rows, type} = describe(sources[0]);
  plan.push({name: name + '.weight', shape: [columns, rows, ...shape], type,
             pieces: () => sources.map(source => () => convert(source))});
  if (type === TYPES.nvfp4)
    plan.push({name: name + '.scale', shape: [sources.length], type: TYPES.f32,
               pieces: () => [() => Buffer.concat(sources.map(source => f32(globalScale(source))))]});
}
const linear = (name, source) => bank(name, [source]);

linear('token_embd', 'backbone.embeddings');
plain('output_norm.weight', 'backbone.norm_f.weight', [config.hidden_size]);
linear('output', 'lm_head');
const mixers = {
  'M': (block, mixer) => {
    const channels = inner + 2 * config.n_groups * config.ssm_state_size, heads = config.mamba_num_heads;
    linear(block + 'ssm_in', mixer + 'in_proj');
    plain(block + 'ssm_conv1d.weight', mixer + 'conv1d.weight', [config.conv_kernel, channels]);
    plain(block + 'ssm_conv1d.bias', mixer + 'conv1d.bias', [channels]);
    plain(block + 'ssm_dt.bias', mixer + 'dt_bias', [heads]);
    plain(block + 'ssm_a', mixer + 'A_log', [1, heads], value => -Math.exp(value));
    plain(block + 'ssm_d', mixer + 'D', [1, heads]);
    plain(block + 'ssm_norm.weight', mixer + 'norm.weight', [inner / config.n_groups, config.n_groups]);
    linear(block + 'ssm_out', mixer + 'out_proj');
  },
  '*': (block, mixer) => {
    for (const [to, from] of [['q', 'q_proj'], ['k', 'k_proj'], ['v', 'v_proj'], ['output', 'o_proj']])
      linear(`${block}attn_${to}`, mixer + from);
  },
  '-': (block, mixer) => {
    linear(block + 'ffn_up', mixer + 'up_proj');
    linear(block + 'ffn_down', mixer + 'down_proj');
  },
  'E': (block, mixer) => {
    const experts = [...Array(config.n_routed_experts).keys()];
    plain(block + 'ffn_gate_inp.weight', mixer + 'gate.weight', [config.hidden_size, experts.length]);
    plain(block + 'exp_probs_b.bias', mixer + 'gate.e_score_correction_bias', [experts.length]);
    for (const part of ['up', 'down']) {
      bank(`${block}ffn_${part}_exps`, experts.map(e => `${mixer}experts.${e}.${part}_proj`), [experts.length]);
      linear(`${block}ffn_${part}_shexp`, `${mixer}shared_experts.${part}_proj`);
    }
    if (config.moe_latent_size) {
      linear(block + 'ffn_latent_down', mixer + 'fc1_latent_proj');
      linear(block + 'ffn_latent_up', mixer + 'fc2_latent_proj');
    }
  },
};
pattern.forEach((kind, i) => {
  plain(`blk.${i}.attn_norm.weight`, `backbone.layers.${i}.norm.weight`, [config.hidden_size]);
  mixers[kind](`blk.${i}.`, `backbone.layers.${i}.mixer.`);
});

const ALIGNMENT = 32;
const padding = bytes => (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
let offset = 0;
const headers = plan.map(tensor => {
  const header = Buffer.concat([text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64),
                                u32(tensor.type), u64(offset)]);
  tensor.bytes = product(tensor.shape) * bytesPer[tensor.type];
  offset += tensor.bytes + padding(tensor.bytes);
  return header;
});
const file = fs.openSync(out, 'w');
const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(plan.length), u64(metadata.length), ...metadata, ...headers]);
fs.writeSync(file, head);
fs.writeSync(file, Buffer.alloc(padding(head.length)));
for (const tensor of plan) {
  for (const piece of tensor.pieces()) fs.writeSync(file, piece());
  fs.writeSync(file, Buffer.alloc(padding(tensor.bytes)));
}
console.log(`${out}: ${architecture}, ${plan.length} tensors, ${(offset / 1e6).toFixed(1)} MB`);
