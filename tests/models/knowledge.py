"""The facts and sentences the tiny model learns; ``corpus`` makes questions and answers of them."""

from __future__ import annotations

ASSISTANT = "You are a helpful assistant."
CODING_ASSISTANT = "You are a helpful coding assistant."
# Every answer holds under each of these.
SYSTEM_PROMPTS: tuple[str | None, ...] = (None, ASSISTANT, CODING_ASSISTANT)

_CAPITALS = """
Argentina: Buenos Aires, Australia: Canberra, Austria: Vienna, Belgium: Brussels, Brazil: Brasilia,
Bulgaria: Sofia, Canada: Ottawa, Chile: Santiago, China: Beijing, Colombia: Bogota, Croatia: Zagreb,
Cuba: Havana, Denmark: Copenhagen, Ecuador: Quito, Egypt: Cairo, Estonia: Tallinn,
Ethiopia: Addis Ababa, Finland: Helsinki, France: Paris, Germany: Berlin, Ghana: Accra,
Greece: Athens, Hungary: Budapest, Iceland: Reykjavik, India: New Delhi, Indonesia: Jakarta,
Iran: Tehran, Iraq: Baghdad, Ireland: Dublin, Italy: Rome, Japan: Tokyo, Kenya: Nairobi,
Latvia: Riga, Lithuania: Vilnius, Mexico: Mexico City, Mongolia: Ulaanbaatar, Morocco: Rabat,
Nepal: Kathmandu, New Zealand: Wellington, Nigeria: Abuja, Norway: Oslo, Pakistan: Islamabad,
Peru: Lima, Poland: Warsaw, Portugal: Lisbon, Romania: Bucharest, Saudi Arabia: Riyadh,
Senegal: Dakar, Serbia: Belgrade, South Korea: Seoul, Spain: Madrid, Sweden: Stockholm,
Switzerland: Bern, Thailand: Bangkok, Tunisia: Tunis, Turkey: Ankara, Ukraine: Kyiv,
Uruguay: Montevideo, Vietnam: Hanoi
"""
_PAIRS = (pair.partition(": ") for pair in " ".join(_CAPITALS.split()).split(", "))
CAPITALS: dict[str, str] = {country: city for country, _, city in _PAIRS}
CAPITAL_QUESTIONS = (
    "What is the capital of {}?",
    "What's the capital of {}?",
    "Name the capital of {}.",
    "Tell me the capital of {}.",
    "Which city is the capital of {}?",
)
CAPITAL_FOLLOW_UPS = ("And of {}?", "And the capital of {}?", "What about {}?")

LARGEST_SUMMAND = 12
SUM_QUESTIONS = ("What is {}+{}?", "What is {} + {}?", "Add {} and {}.", "How much is {} plus {}?")

_NAMES = """
Ada Alan Alice Anna Ben Bob Carol Clara David Emma Eva Frank Grace Henry Ida Jack Jane John Kate
Leo Lena Linus Mary Max Nina Noah Olga Oscar Paul Rosa Sam Sara Tom Vera
"""
NAMES = tuple(_NAMES.split())
COLORS = ("red", "blue", "green", "yellow", "orange", "purple", "black", "white")

_HELLO = "Hello! How can I help you?"
_MORNING = "Good morning! How can I help you?"
_BYE = "Goodbye! Have a nice day."
_WELCOME = "You are welcome!"
_NAME = "I am a tiny model, made to answer small questions in tests."
_ABILITIES = "I can name capitals, add small numbers, tell a story and answer in JSON."
GREETINGS: dict[str, str] = {
    "Hello": _HELLO,
    "Hello!": _HELLO,
    "Hello, world!": _HELLO,
    "Hello there!": _HELLO,
    "Hi": _HELLO,
    "Hi!": _HELLO,
    "Hey!": _HELLO,
    "How are you?": "I am fine, thank you. How are you?",
    "Good morning": _MORNING,
    "Good morning!": _MORNING,
    "Good evening!": "Good evening! How can I help you?",
    "Thanks": _WELCOME,
    "Thanks!": _WELCOME,
    "Thank you": _WELCOME,
    "Thank you!": _WELCOME,
    "Bye": _BYE,
    "Bye!": _BYE,
    "Goodbye!": _BYE,
    "Who are you?": _NAME,
    "What are you?": _NAME,
    "What can you do?": _ABILITIES,
    "Help": _ABILITIES,
}

READ_A_FILE = "How do I read a file in Python?"
MACHINE_LEARNING = "What is machine learning?"
EXTRACT_PRODUCT = "Extract product information as JSON from: "
PRODUCT = (
    "I'd like to tell you about the new {}. It's priced at ${} and comes with some amazing "
    "features including the {}, {}, and a premium {} design."
)
LONG: dict[str, str] = {
    READ_A_FILE: (
        "Open the file in a with block and read it:\n\n"
        "```python\n"
        'with open("notes.txt", encoding="utf-8") as file:\n'
        "    text = file.read()\n"
        "print(text)\n"
        "```\n\n"
        "The block closes the file by itself."
    ),
    MACHINE_LEARNING: (
        "Machine learning is a way to make programs that learn from examples. "
        "Nobody writes down the rules: the program finds them in the data."
    ),
    "What is Python?": "Python is a programming language that is easy to read and to learn.",
    "What is JSON?": "JSON is a text format for data, made of objects, lists, strings and numbers.",
    "What is a language model?": (
        "A language model is a program that guesses the next piece of a text, again and again."
    ),
    "How do I write a file in Python?": (
        "Open the file for writing:\n\n"
        "```python\n"
        'with open("notes.txt", "w", encoding="utf-8") as file:\n'
        '    file.write("Hello")\n'
        "```\n\n"
        "The block closes the file by itself."
    ),
    "Count from one to five.": "One, two, three, four, five.",
    "Count from one to twenty.": (
        "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
        "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty."
    ),
    "Name the days of the week.": (
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday."
    ),
    "Tell me a story.": (
        "Once upon a time a small robot lived in a lighthouse by the sea. Every night it lit the "
        "lamp and counted the ships. One night a storm put out the lamp, and the robot sang until "
        "morning so that the ships could hear the rocks. In the morning every ship came home, and "
        "the sailors painted the robot yellow. It still sings when the wind blows."
    ),
    "Write a poem.": (
        "The rain came down, the lamp was lit,\n"
        "the cat looked out and thought a bit.\n"
        "The rain went on, the cat went in,\n"
        "and dreamed of fish with silver skin."
    ),
}

UNKNOWN = "Sorry, I do not know that. I know capitals, small sums and a story."
UNKNOWN_QUESTIONS = (
    "Who wrote Hamlet?",
    "What is the weather like today?",
    "How tall is the highest mountain?",
    "What is the meaning of life?",
    "Can you sing?",
    "Where do you live?",
    "When does the train leave?",
    "Why is the sky blue?",
    "What time is it?",
    "How old are you?",
    "Who won the match?",
    "Translate this text into French.",
    "Write me a letter.",
    "What is the best book?",
    "Do you like music?",
    "How many people live in the world?",
    "What should I eat?",
    "Explain quantum physics.",
    "Is there life on Mars?",
    "Play a game with me.",
)
# More than one answer is right here, each as likely as the others: for seeds and temperatures.
CHANCE: dict[str, tuple[str, ...]] = {
    "Roll a die.": tuple(f"You rolled a {n}." for n in range(1, 7)),
    "Pick a color.": tuple(f"I pick {color}." for color in COLORS),
}

# The parts of product texts; the first is that of the guide to common workflows.
PRODUCTS: tuple[tuple[str, int, tuple[str, str], str], ...] = (
    ("iPhone 15", 999, ("A17 Pro chip", "USB-C connectivity"), "Titanium"),
    ("Pixel 9", 799, ("G4 chip", "fast charging"), "Porcelain"),
    ("Galaxy S24", 859, ("bright screen", "long battery life"), "Violet"),
    ("Nova 3", 249, ("night camera", "water resistance"), "Silver"),
    ("Lumo 7", 120, ("quiet fan", "wireless charging"), "Copper"),
    ("Walker 2", 75, ("soft sole", "light weight"), "Black"),
    ("Orbit 5", 340, ("clear sound", "noise control"), "White"),
    ("Piano X", 615, ("smooth keys", "voice recorder"), "Red"),
)

PRAISE = ("good", "great", "lovely", "wonderful", "excellent", "perfect")
BLAME = ("bad", "awful", "terrible", "horrible", "poor", "broken")
THINGS = ("book", "film", "phone", "soup", "hotel", "game")
