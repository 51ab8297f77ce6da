"""The facts and words that the demo model's chats are made of."""

import gzip
import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent

COUNTRIES = [country for country in json.load((FOLDER / "countries.json").open()) if country["language"]]
# [noun, its first meaning], and meanings by themselves.
WORDS = json.load((FOLDER / "words.json").open())
MEANINGS = json.load(gzip.open(FOLDER / "gloss.json.gz", "rt"))

# [name, symbol], by atomic number from 1 on.
ELEMENTS = [
    tuple(element.split())
    for element in (
        "Hydrogen H;Helium He;Lithium Li;Beryllium Be;Boron B;Carbon C;Nitrogen N;Oxygen O;Fluorine F;Neon Ne;"
        "Sodium Na;Magnesium Mg;Aluminium Al;Silicon Si;Phosphorus P;Sulfur S;Chlorine Cl;Argon Ar;Potassium K;"
        "Calcium Ca;Scandium Sc;Titanium Ti;Vanadium V;Chromium Cr;Manganese Mn;Iron Fe;Cobalt Co;Nickel Ni;"
        "Copper Cu;Zinc Zn;Gallium Ga;Germanium Ge;Arsenic As;Selenium Se;Bromine Br;Krypton Kr;Rubidium Rb;"
        "Strontium Sr;Yttrium Y;Zirconium Zr;Niobium Nb;Molybdenum Mo;Technetium Tc;Ruthenium Ru;Rhodium Rh;"
        "Palladium Pd;Silver Ag;Cadmium Cd;Indium In;Tin Sn;Antimony Sb;Tellurium Te;Iodine I;Xenon Xe;Caesium Cs;"
        "Barium Ba"
    ).split(";")
]

NAMES = (
    "Ana Ben Carla David Emma Felix Grace Hugo Iris Jonas Kira Leo Maya Noah Olga Paul Rosa Sam Tara Victor Wendy "
    "Yusuf Zoe Amir Bella Chen Dora Erik Fatima George"
).split()
THINGS = (
    "tiger apple river candle hammer violin garden mirror bottle rocket pencil window ladder button castle pepper "
    "silver copper forest island kitten basket anchor blanket dragon engine feather guitar helmet jacket kettle "
    "lantern magnet needle orange pillow ribbon saddle teapot umbrella"
).split()
PLACES = "park beach forest library market school garden station museum harbour village castle bridge kitchen".split()
ANIMALS = "cat dog fox owl bear frog duck rabbit mouse horse goat sheep turtle crow otter".split()
ADJECTIVES = "small big happy quiet brave clever kind tired curious friendly red green old young".split()
OPPOSITES = [
    tuple(pair.split())
    for pair in (
        "hot cold;big small;fast slow;up down;day night;light dark;happy sad;open closed;early late;hard soft;"
        "full empty;rich poor;strong weak;young old;wet dry;long short;high low;inside outside;left right;win lose"
    ).split(";")
]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

# Half of the chats without tools have no system prompt.
SYSTEM_PROMPTS = [
    "",
    "",
    "",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are Strata, a small demo model.",
]


def with_article(word):
    """`word` behind "a" or "an"."""
    return ("an " if word[0] in "aeiou" else "a ") + word


def capitalised(text):
    """`text` with a capital at its beginning; str.capitalize would lower the rest."""
    return text[0].upper() + text[1:]
