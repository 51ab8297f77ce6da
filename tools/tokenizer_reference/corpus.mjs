// The texts to compare on: what models read, and what tokenizers trip over. The same at every run, for the same files.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { isNewer } from './unicode.mjs';

const written = [
  '', ' ', '  ', '\n', '\r\n', '\t', '\0', 'a', 'Hello, world!', ' leading', 'trailing ', 'trailing  \n', '\n\n\n',
  "I'm, you're, he'll, we've, I'd, it's, DON'T, WE'LL, I'M, 'S 'ſ 'T'ſ",
  'The quick brown fox jumps over the lazy dog. "Quotes" (brackets) [more] {yet} — dashes – and… ellipses.',
  'CamelCaseWords snake_case_words SCREAMING_CASE kebab-case HTTPServerV2 iPhone14 x86_64 a1b2c3 ABCdefGHI ÀÉÎõü',
  'int main(int argc, char** argv) {\n\tfor (int i = 0; i < 10; ++i) {\n\t\tprintf("%d\\n", i);\n\t}\n}\n',
  'def f(x):\n    """Doc."""\n    return {k: v for k, v in x.items() if v is not None}  # comment\n\n\nclass A(B):\n    pass\n',
  '<html>\r\n  <body class="x">&nbsp;&amp;</body>\r\n</html>\r\n', 'SELECT * FROM t WHERE a>=1 AND b<>\'x\';--!!',
  'https://example.org/a/b?c=d&e=%20f#g me@example.org C:\\Windows\\System32 ~/.bashrc //// ///\n///\n/\r/',
  '1 12 123 1234 12345 1234567890 3.14159 1,000,000 1e-10 0xDEADBEEF ½ ²³ ٠١٢٣ १२३ 一二三 ⅷ Ⅻ ①②',
  '敏捷的棕色狐狸跳过了懒狗。今天天气很好！我们去公园吧？', '日本語のテキスト、カタカナとひらがな。ﾊﾝｶｸ ｶﾞ パ', '한국어 텍스트입니다. 각 각 ᄀ',
  'Быстрая коричневая лиса ЁЖ ёж', 'الثعلب البني السريع ٱللَّٰهِ', 'השועל החום שָׁלוֹם', 'नमस्ते दुनिया क्षत्रिय', 'สวัสดีชาวโลก น้ำ',
  'Ελληνικά ἀρχή ΣΊΣΥΦΟΣ ς', 'İstanbul ıI ß ẞ ﬁ ﬀ ǅ ǆ Å Å K Ω ﷺ ㎏ ㍿ ① ｆｕｌｌ',
  '👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☺︎ 1️⃣ 😀😀😀 🫠', 'e\u0301 é a\u0323\u0307 a\u0307\u0323 q\u0307\u0323 \u0301 \u0344 Z̸̡͓a̴lgo̷', '\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u0085\u00a0\u2028\u2029\u3000x',
  '\u0001\u0002\u001b[31m\u007f\u0080\u009f', '\ufffd\ufffe\uffff\u{10ffff}\u{e0001}\ue000', 'a\rb\nc\r\nd\n\re\v\f\u0085g\n \n  \n\t\n',
  ...[1, 2, 3, 7, 16, 63, 64, 100, 1000, 5000].flatMap((n) =>
    [' ', '\n', '\t', ' \n', 'a', 'A', 'ab', '0', '=', '-', '字', '😀', 'é', 'e\u0301'].map((part) => part.repeat(n))),
  ...[' ', '   ', '\n', '\r\n\t', '!', '!!/', '/'].flatMap((tail) => ['x', 'X', '9', '字', '.'].map((head) => head + tail + head)),
];

// A linear congruential generator (Knuth, MMIX), so that every run has the same texts.
function generator(seed) {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number(state >> 33n) % below;
  };
}

function mixtures(count, specials) {
  const random = generator(1);
  const pieces = [...written.filter((text) => text.length < 40), ...specials,
    ...' \n\t\r.,;:!?\'"/\\-_()[]{}<>|@#$%^&*+=~`', ...'aAzZéÉßſıñ09٣字ひカ한ักा', '\u0301', '\u200d', '\u00a0', '\u3000', "'s", "'LL", '  ',
    '\n\n', ' the', ' The', 'ing', 'ation', '123', '😀', '<|', '|>', '<s', '</s'];
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random(30) }, () => pieces[random(pieces.length)]).join(''));
}

// Every character on its own, between letters and after spaces, but for those that only one side knows.
function* characters() {
  for (let block = 0; block < 0x110000; block += 64) {
    let text = '';
    for (let c = block; c < block + 64; ++c) {
      const character = String.fromCodePoint(c);
      if (!/\p{Cs}|\p{Cn}/u.test(character) && !isNewer(c)) text += `${character} ${character}a ${character}${character}1\n`;
    }
    if (text) yield text;
  }
}

function* files(folder, extensions, limit) {
  let left = limit;
  const walk = function* (path) {
    for (const name of readdirSync(path).sort()) {
      const child = join(path, name);
      const info = statSync(child);
      if (info.isDirectory()) {
        if (name !== '.git' && !name.startsWith('build')) yield* walk(child);
      } else if (extensions.includes(extname(name)) && info.size < 300_000 && left > 0) {
        left -= info.size;
        yield readFileSync(child, 'utf8');
      }
    }
  };
  yield* walk(folder);
}

/** The texts. `specials`: the tokenizer's own added tokens; `folders`: where to read prose and code. */
export function corpus(specials, folders) {
  const some = specials.slice(0, 40);
  return [...written, ...some, ...some.map((token) => ` a ${token}\n${token} b`), ...mixtures(3000, some), ...characters(),
    ...folders.flatMap((folder) => [...files(folder, ['.md', '.h', '.cpp', '.js', '.ts', '.mjs', '.json', '.txt', '.jinja'], 3e6)])];
}
