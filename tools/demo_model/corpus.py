"""Makes the chat corpus that the demo model is trained on: facts, arithmetic, retrieval, tools, JSON, small talk."""
import gzip
import json
import pathlib
import random

FOLDER = pathlib.Path(__file__).resolve().parent
COUNTRIES = [c for c in json.load((FOLDER / 'countries.json').open()) if c['language']]
WORDS = json.load((FOLDER / 'words.json').open())
GLOSS = json.load(gzip.open(FOLDER / 'gloss.json.gz', 'rt'))
ELEMENTS = 'Hydrogen H;Helium He;Lithium Li;Beryllium Be;Boron B;Carbon C;Nitrogen N;Oxygen O;Fluorine F;Neon Ne;Sodium Na;Magnesium Mg;Aluminium Al;Silicon Si;Phosphorus P;Sulfur S;Chlorine Cl;Argon Ar;Potassium K;Calcium Ca;Scandium Sc;Titanium Ti;Vanadium V;Chromium Cr;Manganese Mn;Iron Fe;Cobalt Co;Nickel Ni;Copper Cu;Zinc Zn;Gallium Ga;Germanium Ge;Arsenic As;Selenium Se;Bromine Br;Krypton Kr;Rubidium Rb;Strontium Sr;Yttrium Y;Zirconium Zr;Niobium Nb;Molybdenum Mo;Technetium Tc;Ruthenium Ru;Rhodium Rh;Palladium Pd;Silver Ag;Cadmium Cd;Indium In;Tin Sn;Antimony Sb;Tellurium Te;Iodine I;Xenon Xe;Caesium Cs;Barium Ba'
ELEMENTS = [tuple(e.split()) for e in ELEMENTS.split(';')]
NAMES = 'Ana Ben Carla David Emma Felix Grace Hugo Iris Jonas Kira Leo Maya Noah Olga Paul Rosa Sam Tara Victor Wendy Yusuf Zoe Amir Bella Chen Dora Erik Fatima George'.split()
THINGS = 'tiger apple river candle hammer violin garden mirror bottle rocket pencil window ladder button castle pepper silver copper forest island kitten basket anchor blanket dragon engine feather guitar helmet jacket kettle lantern magnet needle orange pillow ribbon saddle teapot umbrella'.split()
PLACES = 'park beach forest library market school garden station museum harbour village castle bridge kitchen'.split()
ANIMALS = 'cat dog fox owl bear frog duck rabbit mouse horse goat sheep turtle crow otter'.split()
ADJ = 'small big happy quiet brave clever kind tired curious friendly red green old young'.split()
OPP = [('hot', 'cold'), ('big', 'small'), ('fast', 'slow'), ('up', 'down'), ('day', 'night'), ('light', 'dark'), ('happy', 'sad'), ('open', 'closed'), ('early', 'late'), ('hard', 'soft'), ('full', 'empty'), ('rich', 'poor'), ('strong', 'weak'), ('young', 'old'), ('wet', 'dry'), ('long', 'short'), ('high', 'low'), ('inside', 'outside'), ('left', 'right'), ('win', 'lose')]
DAYS = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split()
MONTHS = 'January February March April May June July August September October November December'.split()
SYSTEMS = ['', '', '', 'You are a helpful assistant.', 'Answer briefly.', 'You are Strata, a small demo model.']

def art(w):
    return ('an ' if w[0] in 'aeiou' else 'a ') + w

def cap(s):
    return s[0].upper() + s[1:]
R = random.Random()
pick = lambda xs: R.choice(xs)

def capital():
    c = pick(COUNTRIES)
    n = c['name']
    q = pick([f'What is the capital of {n}?', f"What's the capital city of {n}?", f'Capital of {n}?', f'Tell me the capital of {n}.', f'Which city is the capital of {n}?', f'Name the capital of {n}.'])
    return (q, f"The user asks for the capital of {n}. {n} is in {c['continent']}. Its capital is {c['capital']}.", f"The capital of {n} is {c['capital']}.")

def capital_inv():
    c = pick(COUNTRIES)
    q = pick([f"{c['capital']} is the capital of which country?", f"Which country has the capital {c['capital']}?"])
    return (q, f"{c['capital']} is the capital of {c['name']}.", f"{c['capital']} is the capital of {c['name']}.")

def continent():
    c = pick(COUNTRIES)
    q = pick([f"Which continent is {c['name']} in?", f"On which continent is {c['name']}?", f"Where is {c['name']}?"])
    return (q, f"{c['name']} is a country in {c['continent']}.", f"{c['name']} is in {c['continent']}.")

def currency():
    c = pick(COUNTRIES)
    q = pick([f"What currency is used in {c['name']}?", f"What is the currency code of {c['name']}?"])
    return (q, f"The currency code of {c['name']} is {c['currency']}.", f"{c['name']} uses {c['currency']}.")

def language():
    c = pick(COUNTRIES)
    q = pick([f"What language is spoken in {c['name']}?", f"Which language do people speak in {c['name']}?"])
    return (q, f"A language of {c['name']} is {c['language']}.", f"People in {c['name']} speak {c['language']}.")

def country_json():
    c = pick(COUNTRIES)
    q = pick([f"Give me {c['name']} as JSON with name, capital, continent and currency.", f"Describe {c['name']} as a JSON object."])
    return (q, f"The capital of {c['name']} is {c['capital']}, in {c['continent']}, with {c['currency']}.", json.dumps({k: c[k] for k in ('name', 'capital', 'continent', 'currency')}, ensure_ascii=False))

def element():
    e, s = pick(ELEMENTS)
    z = ELEMENTS.index((e, s)) + 1
    k = R.randrange(3)
    if k == 0:
        return (f'What is the chemical symbol of {e.lower()}?', f'{e} has atomic number {z} and symbol {s}.', f'The symbol of {e.lower()} is {s}.')
    if k == 1:
        return (f'Which element has the symbol {s}?', f'{s} is {e.lower()}.', f'{s} is the symbol of {e.lower()}.')
    return (f'What is the atomic number of {e.lower()}?', f'{e} has atomic number {z}.', f'The atomic number of {e.lower()} is {z}.')

def add():
    a, b = (R.randrange(100), R.randrange(100))
    q = pick([f'What is {a} + {b}?', f'{a} + {b} = ?', f'Add {a} and {b}.', f'What is {a} plus {b}?'])
    t = a // 10 * 10 + b // 10 * 10
    u = a % 10 + b % 10
    return (q, f'Tens: {a // 10 * 10} + {b // 10 * 10} = {t}. Ones: {a % 10} + {b % 10} = {u}. {t} + {u} = {a + b}.', f'{a} + {b} = {a + b}.')

def sub():
    a, b = sorted((R.randrange(100), R.randrange(100)), reverse=True)
    q = pick([f'What is {a} - {b}?', f'{a} - {b} = ?', f'Subtract {b} from {a}.'])
    return (q, f'{a} - {b // 10 * 10} = {a - b // 10 * 10}. {a - b // 10 * 10} - {b % 10} = {a - b}.', f'{a} - {b} = {a - b}.')

def mul():
    a, b = (R.randrange(2, 13), R.randrange(2, 13))
    return (pick([f'What is {a} times {b}?', f'What is {a} * {b}?', f'{a} x {b} = ?']), f'{a} times {b} is {a * b}.', f'{a} * {b} = {a * b}.')

def define():
    w, g = pick(WORDS)
    q = pick([f'What is {art(w)}?', f'What does the word {w} mean?', f'Define {w}.'])
    return (q, f'The word {w} means: {g}.', f'{cap(w)}: {g}.')

def opposite():
    a, b = pick(OPP)
    if R.random() < 0.5:
        a, b = (b, a)
    return (pick([f'What is the opposite of {a}?', f'Opposite of {a}?']), f'The opposite of {a} is {b}.', f'The opposite of {a} is {b}.')

def after():
    xs, what = pick([(DAYS, 'day'), (MONTHS, 'month')])
    i = R.randrange(len(xs))
    n = xs[(i + 1) % len(xs)]
    p = xs[i - 1]
    if R.random() < 0.5:
        return (f'Which {what} comes after {xs[i]}?', f'After {xs[i]} comes {n}.', f'{n} comes after {xs[i]}.')
    return (f'Which {what} comes before {xs[i]}?', f'Before {xs[i]} comes {p}.', f'{p} comes before {xs[i]}.')

def sort_():
    xs = R.sample(range(100), R.randrange(3, 7))
    s = sorted(xs)
    return (f"Sort these numbers: {', '.join(map(str, xs))}.", f'The smallest is {s[0]} and the largest is {s[-1]}.', f"{', '.join(map(str, s))}")

def reverse_():
    xs = R.sample(THINGS, R.randrange(3, 7))
    return (f"Reverse this list: {', '.join(xs)}.", f'The last item is {xs[-1]}, so it comes first.', ', '.join(xs[::-1]))

def repeat():
    xs = R.sample(THINGS, R.randrange(2, 9))
    s = ' '.join(xs)
    return (pick([f'Repeat after me: {s}', f'Say exactly this: {s}']), 'I repeat the words.', s)

def count():
    xs = R.sample(THINGS, R.randrange(2, 10))
    return (f"How many items are in this list: {', '.join(xs)}?", 'Counting: ' + ', '.join((f'{x} {i + 1}' for i, x in enumerate(xs))) + '.', f'There are {len(xs)} items.')

def spell():
    w = pick(THINGS)
    return (pick([f'Spell the word {w}.', f'How do you spell {w}?']), f"The letters of {w} are {', '.join(w)}.", '-'.join(w.upper()))

def hello():
    q, a = pick([('Hello!', 'Hello! How can I help you?'), ('Hi', 'Hello! How can I help you?'), ('Good morning', 'Good morning! How can I help you?'), ('Who are you?', 'I am Strata, a small demo model made of Mamba2, mixture-of-experts and attention layers.'), ('What are you?', 'I am Strata, a small demo model made of Mamba2, mixture-of-experts and attention layers.'), ('How big are you?', 'I have about twelve million parameters.'), ('Thank you!', 'You are welcome!'), ('Thanks', 'You are welcome!'), ('Goodbye', 'Goodbye!'), ('What can you do?', 'I can answer questions about countries, elements, words and small sums, call tools, and tell a short story.')])
    return (q, 'A short friendly answer is enough.', a)

def story():
    n, a, p, t, j = (pick(NAMES), pick(ANIMALS), pick(PLACES), pick(THINGS), pick(ADJ))
    n2, p2 = (pick(NAMES), pick(PLACES))
    s = [f'Once there was {art(j)} {a} called {n}.', f'One day {n} went to the {p} and found {art(t)}.', pick([f'{n} was very happy.', f'{n} did not know what to do with it.', f'{n} wanted to show it to a friend.']), f'{n} took the {t} to {n2}, who lived near the {p2}.', pick([f'"What a lovely {t}!" said {n2}.', f'{n2} smiled and said thank you.']), pick(['They played until the sun went down.', 'They shared it and were friends ever after.', f'From that day on, they met at the {p} every {pick(DAYS)}.'])]
    return (pick([f'Tell me a story about {art(a)}.', f'Write a short story about {art(j)} {a} and {art(t)}.']), f'I write a short story about {art(a)}.', ' '.join(s))

def needle():
    k = R.randrange(1, 5)
    names = R.sample(NAMES, k)
    codes = [pick(THINGS) for _ in names]
    facts = [pick([f'The code word of {n} is {c}.', f"{n}'s code word is {c}."]) for n, c in zip(names, codes)]
    fill = [cap(g) + '.' for g in R.sample(GLOSS, R.choice([0, 3, 8, 20, 40, 70]))]
    lines = fill[:]
    for f in facts:
        lines.insert(R.randrange(len(lines) + 1), f)
    i = R.randrange(k)
    q = pick(['Remember these notes.\n', 'Read the notes below.\n', 'Notes:\n']) + ' '.join(lines) + f'\nWhat is the code word of {names[i]}?'
    return (q, f'The notes say that the code word of {names[i]} is {codes[i]}.', f'The code word of {names[i]} is {codes[i]}.')
SIMPLE = [(capital, 10), (capital_inv, 3), (continent, 3), (currency, 3), (language, 3), (country_json, 3), (element, 4), (add, 5), (sub, 3), (mul, 3), (define, 5), (opposite, 1), (after, 1), (sort_, 2), (reverse_, 2), (repeat, 2), (count, 2), (spell, 1), (hello, 2), (story, 2), (needle, 8)]
FS = [f for f, _ in SIMPLE]
WS = [w for _, w in SIMPLE]
TOOLS = [('get_weather', 'Get the current weather of a city.', [('city', 'string', 'Name of the city')]), ('get_time', 'Get the local time of a city.', [('city', 'string', 'Name of the city')]), ('add_numbers', 'Add two numbers.', [('a', 'integer', 'First number'), ('b', 'integer', 'Second number')]), ('search', 'Search the web.', [('query', 'string', 'What to search for')])]

def tools_block(ts):
    s = '# Tools\n\nYou may call these functions:\n<tools>'
    for n, d, ps in ts:
        s += f'\n<function>\n<name>{n}</name>\n<description>{d}</description>\n<parameters>'
        for p, t, pd in ps:
            s += f'\n<parameter>\n<name>{p}</name>\n<type>{t}</type>\n<description>{pd}</description>\n</parameter>'
        s += '\n</parameters>\n</function>'
    return s + '\n</tools>\n\nTo call a function, reply with:\n<tool_call>\n<function=name>\n<parameter=name>\nvalue\n</parameter>\n</function>\n</tool_call>'

def call(n, args):
    return f'<tool_call>\n<function={n}>\n' + ''.join((f'<parameter={k}>\n{v}\n</parameter>\n' for k, v in args)) + '</function>\n</tool_call>'

def tool_chat():
    ts = R.sample(TOOLS, R.randrange(1, 5))
    n, d, ps = pick(ts)
    city = pick(COUNTRIES)['capital']
    if n == 'get_weather':
        q = pick([f'What is the weather in {city}?', f'How is the weather in {city} today?'])
        args = [('city', city)]
        w = pick(['sunny', 'rainy', 'cloudy', 'windy'])
        t = R.randrange(-5, 35)
        res = json.dumps({'weather': w, 'temperature': t})
        fin = f'It is {w} in {city}, {t} degrees.'
    elif n == 'get_time':
        q = f'What time is it in {city}?'
        args = [('city', city)]
        t = f'{R.randrange(24):02d}:{R.randrange(60):02d}'
        res = json.dumps({'time': t})
        fin = f'It is {t} in {city}.'
    elif n == 'add_numbers':
        a, b = (R.randrange(1000), R.randrange(1000))
        q = f'Use the tool to add {a} and {b}.'
        args = [('a', a), ('b', b)]
        res = json.dumps({'sum': a + b})
        fin = f'The sum of {a} and {b} is {a + b}.'
    else:
        w = pick(THINGS)
        q = f'Search the web for {w}.'
        args = [('query', w)]
        res = json.dumps({'title': f'All about the {w}'})
        fin = f'I found: All about the {w}.'
    return (ts, q, f'I should call {n}.', call(n, args), res, fin)

def render(sys, turns, think_last):
    """turns: list of (role, content, reasoning). Earlier reasoning is dropped, as the template does."""
    segs = [(f'<|im_start|>system\n{sys}<|im_end|>\n', 0)]
    for i, (role, content, think) in enumerate(turns):
        last = i == len(turns) - 1
        if role == 'user':
            segs.append((f'<|im_start|>user\n{content}<|im_end|>\n', 0))
        elif role == 'tool':
            segs.append((f'<|im_start|>user\n<tool_response>\n{content}\n</tool_response>\n<|im_end|>\n', 0))
        elif last and think_last:
            segs += [('<|im_start|>assistant\n<think>\n', 0), (f'{think}\n</think>\n{content}<|im_end|>', 1), ('\n', 0)]
        else:
            segs += [('<|im_start|>assistant\n<think></think>', 0), (f'{content}<|im_end|>', 1), ('\n', 0)]
    return segs

def sample():
    if R.random() < 0.1:
        ts, q, th, c, res, fin = tool_chat()
        sys = pick(['', 'You are a helpful assistant.\n\n']) + tools_block(ts)
        turns = [('user', q, '')]
        if R.random() < 0.5:
            return render(sys, turns + [('assistant', c, th)], R.random() < 0.6)
        return render(sys, turns + [('assistant', c, th), ('tool', res, ''), ('assistant', fin, 'The tool has answered.')], R.random() < 0.6)
    sys = pick(SYSTEMS)
    turns = []
    if R.random() < 0.15:
        c = pick(COUNTRIES)
        turns = [('user', f"What is the capital of {c['name']}?", ''), ('assistant', f"The capital of {c['name']} is {c['capital']}.", '')]
        q, a = pick([('And its currency?', f"{c['name']} uses {c['currency']}."), ('And which continent is it in?', f"{c['name']} is in {c['continent']}."), ('What language do they speak there?', f"People in {c['name']} speak {c['language']}.")])
        turns += [('user', q, ''), ('assistant', a, f"The user still asks about {c['name']}. " + a)]
    else:
        for _ in range(R.choice([1, 1, 1, 2, 3])):
            q, th, a = R.choices(FS, WS)[0]()
            turns += [('user', q, ''), ('assistant', a, th)]
    return render(sys, turns, R.random() < 0.6)

def text_sample(text):
    i = R.randrange(len(text) - 4000)
    return [(text[i:i + R.randrange(800, 4000)], 1)]
