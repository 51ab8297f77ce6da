"""What the demo model learns to answer: each task makes a question, the thinking, and the answer.

A task takes its choices from a random.Random. The order in which it draws belongs to the corpus: other draws make
another corpus from the same seed.
"""

import json

from vocabulary import (
    ADJECTIVES,
    ANIMALS,
    COUNTRIES,
    DAYS,
    ELEMENTS,
    MEANINGS,
    MONTHS,
    NAMES,
    OPPOSITES,
    PLACES,
    THINGS,
    WORDS,
    capitalised,
    with_article,
)

ABOUT = "I am Strata, a small demo model made of Mamba2, mixture-of-experts and attention layers."
ABILITIES = (
    "I can answer questions about countries, elements, words and small sums, call tools, and tell a short story."
)


def capital(rng):
    country = rng.choice(COUNTRIES)
    name = country["name"]
    question = rng.choice(
        [
            f"What is the capital of {name}?",
            f"What's the capital city of {name}?",
            f"Capital of {name}?",
            f"Tell me the capital of {name}.",
            f"Which city is the capital of {name}?",
            f"Name the capital of {name}.",
        ]
    )
    thinking = (
        f"The user asks for the capital of {name}. {name} is in {country['continent']}. "
        f"Its capital is {country['capital']}."
    )
    return question, thinking, f"The capital of {name} is {country['capital']}."


def country_of_capital(rng):
    country = rng.choice(COUNTRIES)
    city = country["capital"]
    question = rng.choice([f"{city} is the capital of which country?", f"Which country has the capital {city}?"])
    answer = f"{city} is the capital of {country['name']}."
    return question, answer, answer


def continent(rng):
    country = rng.choice(COUNTRIES)
    name, where = country["name"], country["continent"]
    question = rng.choice([f"Which continent is {name} in?", f"On which continent is {name}?", f"Where is {name}?"])
    return question, f"{name} is a country in {where}.", f"{name} is in {where}."


def currency(rng):
    country = rng.choice(COUNTRIES)
    name, code = country["name"], country["currency"]
    question = rng.choice([f"What currency is used in {name}?", f"What is the currency code of {name}?"])
    return question, f"The currency code of {name} is {code}.", f"{name} uses {code}."


def language(rng):
    country = rng.choice(COUNTRIES)
    name, spoken = country["name"], country["language"]
    question = rng.choice([f"What language is spoken in {name}?", f"Which language do people speak in {name}?"])
    return question, f"A language of {name} is {spoken}.", f"People in {name} speak {spoken}."


def country_json(rng):
    country = rng.choice(COUNTRIES)
    name = country["name"]
    question = rng.choice(
        [
            f"Give me {name} as JSON with name, capital, continent and currency.",
            f"Describe {name} as a JSON object.",
        ]
    )
    thinking = (
        f"The capital of {name} is {country['capital']}, in {country['continent']}, with {country['currency']}."
    )
    fields = {key: country[key] for key in ("name", "capital", "continent", "currency")}
    return question, thinking, json.dumps(fields, ensure_ascii=False)


def element(rng):
    name, symbol = rng.choice(ELEMENTS)
    number = ELEMENTS.index((name, symbol)) + 1
    lower = name.lower()
    kind = rng.randrange(3)
    if kind == 0:
        thinking = f"{name} has atomic number {number} and symbol {symbol}."
        return f"What is the chemical symbol of {lower}?", thinking, f"The symbol of {lower} is {symbol}."
    if kind == 1:
        answer = f"{symbol} is the symbol of {lower}."
        return f"Which element has the symbol {symbol}?", f"{symbol} is {lower}.", answer
    thinking = f"{name} has atomic number {number}."
    return f"What is the atomic number of {lower}?", thinking, f"The atomic number of {lower} is {number}."


def add(rng):
    a, b = rng.randrange(100), rng.randrange(100)
    question = rng.choice([f"What is {a} + {b}?", f"{a} + {b} = ?", f"Add {a} and {b}.", f"What is {a} plus {b}?"])
    tens_of_a, tens_of_b = a // 10 * 10, b // 10 * 10
    tens, ones = tens_of_a + tens_of_b, a % 10 + b % 10
    thinking = (
        f"Tens: {tens_of_a} + {tens_of_b} = {tens}. Ones: {a % 10} + {b % 10} = {ones}. {tens} + {ones} = {a + b}."
    )
    return question, thinking, f"{a} + {b} = {a + b}."


def subtract(rng):
    a, b = sorted((rng.randrange(100), rng.randrange(100)), reverse=True)
    question = rng.choice([f"What is {a} - {b}?", f"{a} - {b} = ?", f"Subtract {b} from {a}."])
    tens_of_b = b // 10 * 10
    thinking = f"{a} - {tens_of_b} = {a - tens_of_b}. {a - tens_of_b} - {b % 10} = {a - b}."
    return question, thinking, f"{a} - {b} = {a - b}."


def multiply(rng):
    a, b = rng.randrange(2, 13), rng.randrange(2, 13)
    question = rng.choice([f"What is {a} times {b}?", f"What is {a} * {b}?", f"{a} x {b} = ?"])
    return question, f"{a} times {b} is {a * b}.", f"{a} * {b} = {a * b}."


def define(rng):
    word, meaning = rng.choice(WORDS)
    question = rng.choice([f"What is {with_article(word)}?", f"What does the word {word} mean?", f"Define {word}."])
    return question, f"The word {word} means: {meaning}.", f"{capitalised(word)}: {meaning}."


def opposite(rng):
    a, b = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        a, b = b, a
    question = rng.choice([f"What is the opposite of {a}?", f"Opposite of {a}?"])
    answer = f"The opposite of {a} is {b}."
    return question, answer, answer


def day_or_month(rng):
    items, what = rng.choice([(DAYS, "day"), (MONTHS, "month")])
    at = rng.randrange(len(items))
    item, before, after = items[at], items[at - 1], items[(at + 1) % len(items)]
    if rng.random() < 0.5:
        return f"Which {what} comes after {item}?", f"After {item} comes {after}.", f"{after} comes after {item}."
    return f"Which {what} comes before {item}?", f"Before {item} comes {before}.", f"{before} comes before {item}."


def sort_numbers(rng):
    numbers = rng.sample(range(100), rng.randrange(3, 7))
    ordered = sorted(numbers)
    question = f"Sort these numbers: {', '.join(map(str, numbers))}."
    thinking = f"The smallest is {ordered[0]} and the largest is {ordered[-1]}."
    return question, thinking, ", ".join(map(str, ordered))


def reverse_list(rng):
    things = rng.sample(THINGS, rng.randrange(3, 7))
    thinking = f"The last item is {things[-1]}, so it comes first."
    return f"Reverse this list: {', '.join(things)}.", thinking, ", ".join(things[::-1])


def repeat_words(rng):
    words = " ".join(rng.sample(THINGS, rng.randrange(2, 9)))
    question = rng.choice([f"Repeat after me: {words}", f"Say exactly this: {words}"])
    return question, "I repeat the words.", words


def count_items(rng):
    things = rng.sample(THINGS, rng.randrange(2, 10))
    counted = ", ".join(f"{thing} {number}" for number, thing in enumerate(things, 1))
    question = f"How many items are in this list: {', '.join(things)}?"
    return question, f"Counting: {counted}.", f"There are {len(things)} items."


def spell(rng):
    word = rng.choice(THINGS)
    question = rng.choice([f"Spell the word {word}.", f"How do you spell {word}?"])
    return question, f"The letters of {word} are {', '.join(word)}.", "-".join(word.upper())


def small_talk(rng):
    question, answer = rng.choice(
        [
            ("Hello!", "Hello! How can I help you?"),
            ("Hi", "Hello! How can I help you?"),
            ("Good morning", "Good morning! How can I help you?"),
            ("Who are you?", ABOUT),
            ("What are you?", ABOUT),
            ("How big are you?", "I have about twelve million parameters."),
            ("Thank you!", "You are welcome!"),
            ("Thanks", "You are welcome!"),
            ("Goodbye", "Goodbye!"),
            ("What can you do?", ABILITIES),
        ]
    )
    return question, "A short friendly answer is enough.", answer


def story(rng):
    hero, animal, place = rng.choice(NAMES), rng.choice(ANIMALS), rng.choice(PLACES)
    thing, adjective = rng.choice(THINGS), rng.choice(ADJECTIVES)
    friend, home = rng.choice(NAMES), rng.choice(PLACES)
    feeling = rng.choice(
        [
            f"{hero} was very happy.",
            f"{hero} did not know what to do with it.",
            f"{hero} wanted to show it to a friend.",
        ]
    )
    reply = rng.choice([f'"What a lovely {thing}!" said {friend}.', f"{friend} smiled and said thank you."])
    end = rng.choice(
        [
            "They played until the sun went down.",
            "They shared it and were friends ever after.",
            f"From that day on, they met at the {place} every {rng.choice(DAYS)}.",
        ]
    )
    sentences = [
        f"Once there was {with_article(adjective)} {animal} called {hero}.",
        f"One day {hero} went to the {place} and found {with_article(thing)}.",
        feeling,
        f"{hero} took the {thing} to {friend}, who lived near the {home}.",
        reply,
        end,
    ]
    question = rng.choice(
        [
            f"Tell me a story about {with_article(animal)}.",
            f"Write a short story about {with_article(adjective)} {animal} and {with_article(thing)}.",
        ]
    )
    return question, f"I write a short story about {with_article(animal)}.", " ".join(sentences)


def code_word_in_notes(rng):
    """A fact to find among up to 74 sentences: what the attention and SSM state have to carry."""
    names = rng.sample(NAMES, rng.randrange(1, 5))
    codes = [rng.choice(THINGS) for _ in names]
    facts = [
        rng.choice([f"The code word of {name} is {code}.", f"{name}'s code word is {code}."])
        for name, code in zip(names, codes)
    ]
    notes = [capitalised(meaning) + "." for meaning in rng.sample(MEANINGS, rng.choice([0, 3, 8, 20, 40, 70]))]
    for fact in facts:
        notes.insert(rng.randrange(len(notes) + 1), fact)
    asked = rng.randrange(len(names))
    name, code = names[asked], codes[asked]
    opening = rng.choice(["Remember these notes.\n", "Read the notes below.\n", "Notes:\n"])
    question = opening + " ".join(notes) + f"\nWhat is the code word of {name}?"
    thinking = f"The notes say that the code word of {name} is {code}."
    return question, thinking, f"The code word of {name} is {code}."


# How often each is asked.
WEIGHTS = {
    capital: 10,
    country_of_capital: 3,
    continent: 3,
    currency: 3,
    language: 3,
    country_json: 3,
    element: 4,
    add: 5,
    subtract: 3,
    multiply: 3,
    define: 5,
    opposite: 1,
    day_or_month: 1,
    sort_numbers: 2,
    reverse_list: 2,
    repeat_words: 2,
    count_items: 2,
    spell: 1,
    small_talk: 2,
    story: 2,
    code_word_in_notes: 8,
}


def any_task(rng):
    """One task's question, thinking and answer, by WEIGHTS."""
    task = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    return task(rng)
