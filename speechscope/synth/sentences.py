"""What the speakers of the synthesized corpus read.

TIMIT's plan (Garofolo et al. 1993) with sentences of our own: two dialect sentences that everybody
reads (SA), phonetically compact sentences that several speakers read (SX), and diverse sentences
that one speaker reads (SI). SX and SI are rich in the phones that are rare in English: every
sentence was written around some of oy, zh, uh, th, ch, jh, aw, y, en, el and dx.

SX sentences are a list. SI sentences are formed from word lists, the number of the sentence
deciding the words, so that there are as many as TIMIT has and none needs to be stored.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FIRST_SI = 451
"""Number of the first SI sentence; TIMIT's SX are 1–450, its SI 451–2342."""

SI_SENTENCES = 1890
"""How many SI sentences there are: three for each of TIMIT's 630 speakers."""

SA: tuple[str, ...] = (
    "The boy with the yellow cotton hood watched both judges measure the large brown house.",
    "Either you choose the azure coat or I shall buy a better one for my father, George.",
)

SX: tuple[str, ...] = (
    "The noisy boys enjoyed a voyage to the royal oyster farm.",
    "Joyce pointed at the boiling oil and avoided the moist soil.",
    "A choice of toys annoyed the loyal employer.",
    "Roy's voice was hoarse, so he joined the choir without joy.",
    "Don't destroy the coins in the foil; they are Floyd's.",
    "Troy hoisted the oily joint with a poised and noiseless motion.",
    "Spoiled oysters can poison an unemployed cowboy.",
    "The appointment in Detroit was a disappointment to the boys.",
    "Measure the treasure at your leisure, with usual precision.",
    "The explosion on television was an illusion, not a collision.",
    "Her decision to enjoy casual pleasures caused confusion.",
    "On this occasion the division of the treasure was unusual.",
    "The vision of an azure Asian beach was pure pleasure.",
    "The invasion led to an erosion of leisure and a conclusion in seclusion.",
    "A beige garage and a mirage caused an unusual illusion.",
    "The usual measure of pleasure is exposure to television.",
    "Would you look for a good cookbook in the wooden nook?",
    "The woman should put the sugar on the cushion by the hook.",
    "He took a full look at the wolf and stood by the brook.",
    "The cook pulled the pudding from the bushes and shook his foot.",
    "The butcher could push the bull through the woods.",
    "Wool hoods look good on a crooked bookkeeper.",
    "She put a bushel of wood beside the bullet and the pulpit.",
    "Could the rookie cook understand a full cup of sugar?",
    "Thirty thick thumbs threw thin thread through the cloth.",
    "Both of them thought the moth was worth three thousand.",
    "Thank Ruth for the path to the north of the bath.",
    "The youth felt a health threat in both teeth and throat.",
    "On Thursday the author will be thirty-third in math.",
    "Something in the south made the theater think about truth.",
    "The wealthy thief breathed with nothing in his mouth.",
    "Beth thinks the length of the path is worth her breath.",
    "The chief teacher watched each child reach the church.",
    "Charles chose a cheap chair and a rich cherry sandwich.",
    "Which chicken did the coach catch in the ditch?",
    "A Dutch champion stretched and scratched his chin.",
    "The peach in the pitcher changed the French chef's lunch.",
    "Much of the sketch of the beach was purchased by Rachel.",
    "Actual nature pictures attract a future searcher.",
    "Each watch on the bench belongs to a bachelor from China.",
    "George and Jack judged the huge jet engine in July.",
    "The large orange jar is on the edge of the bridge.",
    "A gentle stranger changed the page of the legend.",
    "Jane's major job is to manage the village college.",
    "The judge urged the agent to wedge the gem in the badge.",
    "Imagine a giant pigeon in a cage by the garbage.",
    "Angela's message to the jury was a strange joke.",
    "The suggestion was to merge the budget and the project.",
    "How did the brown cow get out of the crowded house?",
    "The proud owl frowned at a thousand loud hounds.",
    "About an hour ago, the crowd shouted in the town.",
    "The mouse found the flower in the ground without a sound.",
    "The clown bounced down the mountain and shouted out loud.",
    "Our accountant doubts the south tower will be sound.",
    "A scout announced that clouds surround the fountain.",
    "The trout swam round and round, mouth open and proud.",
    "The kitten hid the cotton mitten under a button.",
    "Martin has written a certain sentence in Latin.",
    "The rotten curtain in Britain has been forgotten.",
    "The frightened kitten had eaten and bitten the satin.",
    "It is important to tighten and flatten each button.",
    "A sudden hint of cotton was rotten and beaten.",
    "The mitten and the curtain were written off in Britain.",
    "The captain shortened the rotten cotton rope.",
    "A little bottle of apple cider sat on the table.",
    "The people in the middle of the battle were gentle.",
    "A simple puzzle for the uncle is a riddle for the couple.",
    "The eagle and the turtle are able to settle in the jungle.",
    "Michael will travel to the local hospital for a trifle.",
    "The metal kettle made a terrible rattle and a whistle.",
    "A noble animal wobbled in the cattle shuttle.",
    "Several royal candles sparkle in the chapel.",
    "Betty bought a bit of better butter in the city.",
    "Put it in the water a little later, Peter.",
    "The pretty lady made a lot of pottery out of it.",
    "The writer got an auto and a motor for forty daughters.",
    "What are you getting at a quarter of eight in Seattle?",
    "Patty edited a letter to the editor of the data.",
    "Thirty waiters are waiting at the party at eighty.",
    "The rider got out of the water and started the motor.",
    "Yes, the young lawyer used a few yards of yellow yarn.",
    "The university gave you a unique view of a beautiful year.",
    "Few human beings refuse a huge cube of yogurt.",
    "Music and humor are useful to the youth of Europe.",
    "Your cousin's canyon is a million yards beyond New York.",
    "The nephew argued that the onion was yellow yesterday.",
    "A ewe yawned at a yacht in the yard.",
    "The beauty of the universe amused the curious pupil.",
    "Whose shoe is in the blue pool at noon?",
    "The crew flew to the moon in a new suit on Tuesday.",
    "The goose threw a loose tooth into the juice.",
    "Few fools prove the truth with a rude rumor.",
    "Her first nurse learned German words at work.",
    "The early bird heard thirty turkeys and purple worms.",
    "Sir Herbert earned a third of the world's furniture.",
    "The nervous girl turned and burned the dirty shirt.",
    "Father's car was parked by a large farm in the dark.",
    "Tom dropped the rocks on top of the hot copper box.",
    "The calm sergeant marked the garden with a hard card.",
    "My aunt laughed at the fat black cat on the mat.",
    "That bad bandit grabbed a handful of cash and ran.",
    "The happy family had ham and jam and a glass of milk.",
    "Kate made eight cakes and gave them away on a rainy day.",
    "The lazy baby played with a paper snake on a train.",
    "Five white mice might climb high behind the pipe.",
    "I like my pie with a slice of lime and a bit of spice.",
    "Mike tried to hide his bright kite behind the sign.",
    "Nobody knows whose old boat floats below the stone.",
    "The lonely goat wrote home about the cold snow.",
    "Joan sewed her own coat and told a joke about soap.",
    "Ted fed ten red hens and went to bed.",
    "The best guests were dressed in red leather vests.",
    "Many men said that the weather there was wet.",
    "Six silly pigs live in a big pink ship.",
    "The busy women finished the dinner in a minute.",
    "Bill will win this rich river mill.",
    "Please keep these green leaves clean and free from weeds.",
    "We need cheese, meat, and tea for the evening meal.",
    "Each sleepy sheep dreams of a deep green field.",
    "The lawn is small but all four walls are tall.",
    "The author's daughter taught a small dog to walk.",
    "Paul saw a hawk fall off the strong log at dawn.",
    "A tall horse stood on the north shore before the storm.",
    "Some young lovers jumped up and hugged the puppy.",
    "My mother's brother loves one ugly duck in the mud.",
    "The public bus was stuck under the rusty bridge.",
    "The wanted rabbits visited houses and places with roses.",
    "He needed boxes and dishes and wanted pages and prizes.",
    "The boxes of peaches landed on the wooden benches.",
    "The judges hated the noises of the buses and coaches.",
    "Visited villages ended their longest races with prizes.",
    "The king was singing a long song among the young.",
    "Bring the strong string and hang the ring on the swing.",
    "Something is wrong with the evening song of the gang.",
    "Six thick things are hanging along the long bank.",
    "The river is very deep and moves over seven caves.",
    "Vera's voice gave the valley a vivid and brave vision.",
    "Victor never believed in the value of a glove.",
    "Five lively vans drove over the heavy gravel.",
    "The zebra was lazy, and the bees were buzzing at the zoo.",
    "These roses please his eyes because of their size.",
    "Lizards doze in the breeze and freeze in the snows.",
    "This is the brother that they gather with rather than the other.",
    "Their father and mother breathe smoothly in this weather.",
    "Though the feather is loose, they bathe with these others.",
    "The hungry hunter behind the hill held a heavy hat.",
    "Perhaps he had heard how his horse hurt her hoof.",
    "Who hid the whole ham behind a huge house?",
    "She should wash the sharp shells and dishes in the shop.",
    "Fresh fish is a special dish in the English ocean.",
    "The shiny machine in the station made a motion.",
    "Sharon's mission is to polish the brushes and the shoes.",
    "Grandma gave the big guard a good game of golf.",
    "The greedy goat began to dig again in the garden.",
    "The frog's egg got bigger against the log.",
    "Bob rubbed a rubber ball on the table in the lobby.",
    "The baby grabbed the big blue cab by the cobweb.",
    "The proud pilot kept a piece of paper in his upper pocket.",
    "Pack a pepper, a potato, and a cup of soup.",
    "Take the ticket to the actor in the attic at ten.",
    "The cook cut the cake and kept a quick chocolate cookie.",
    "David and Daddy did a difficult dance in the dusty road.",
    "The dead leader ended a bad deed with a shudder.",
    "Mary's mom and Tim swim in the warm summer moonlight.",
    "Ann's nine nieces know that the new lane has no end.",
    "The real railway rolled around the rural area.",
    "Larry's yellow lily lay along the lower level.",
    "William's quick queen wore a white woolen sweater.",
    "The quiet squirrel was always away from the wind.",
    "The pleasure of a good voyage is in the choice of the route.",
    "Nothing in the treasure house should annoy the youth.",
    "Just measure the thick oil and put it in the bushes.",
    "The noise of the collision could be heard in both churches.",
    "Push the wooden toy through the usual path, Joyce.",
    "The button on the rotten cotton was bitten and eaten.",
    "Threaten the kitten, and the frightened mitten is forgotten.",
    "A certain patent was written and then forgotten in Manhattan.",
    "Tighten the buttons and shorten the flattened cotton.",
    "He had gotten beaten, but he has lightened and sweetened it.",
    "Kittens in cotton mittens have eaten the whitened gluten.",
    "A certain button threatened to shorten the written patent.",
    "They tightened the rotten buttons that were forgotten in Manhattan.",
    "Her hungry huge horse is hiding behind his hay.",
    "Give the goose a good egg, and go get a bigger bag.",
    "Young Hugh has a yellow yacht in his yard at Yale.",
    "Show the shy fisherman a shelf of shiny shells.",
    "Bringing, hanging, and singing are nothing but young things.",
    "The usual vision of a casual Asian is a beige illusion.",
    "I tried to buy my wife a nice white bicycle for five dimes.",
    "The judges wanted to visit the houses and the palaces.",
    "Go home slowly over the snow, and don't lower your nose.",
    "Cats and rats ran past that fat man and his black hat.",
    "Which future creature could the teacher teach to chew cheese?",
    "Our loud crowd found the south of the town by now.",
)

_NAMES = (
    "Joyce", "Ruth", "George", "Roy", "Charles", "Beth", "Martin", "Betty", "Floyd", "Rachel",
    "Keith", "Angela", "Arthur", "Jane", "Michael", "Judith", "Victor", "Patty", "Troy", "Hugh",
)  # fmt: skip
_PEOPLE = (
    "boy", "woman", "judge", "youth", "child", "butcher", "author", "teacher", "cowboy", "cook",
    "lawyer", "merchant", "bookkeeper", "giant", "mother", "pupil", "employer", "captain", "nurse",
    "bachelor", "uncle", "writer", "thief", "hunter", "singer", "guard",
)  # fmt: skip
_THINGS = (
    "toy", "treasure", "button", "cushion", "church", "bottle", "cotton mitten", "coin", "bridge",
    "patent", "path", "television", "cookbook", "mitten", "cloth", "kettle", "oyster", "kitten",
    "garage", "pudding", "yacht", "watch", "letter", "hood", "mountain", "thimble", "guitar",
    "foil", "picture", "fountain", "sugar", "message", "yellow yarn", "cotton", "crown", "puzzle",
    "shell", "oil", "engine", "flower", "yogurt", "egg", "cotton button",
)  # fmt: skip
# No adjective begins with a vowel: "a" goes before all of them.
_ADJECTIVES = (
    "noisy", "beige", "good", "rotten", "thick", "rich", "royal", "little", "huge", "casual",
    "wooden", "brown", "cheap", "moist", "pretty", "forgotten", "healthy", "large", "loyal",
    "full", "loud", "hidden", "gentle", "third", "spoiled", "woolen", "proud", "young", "dirty",
    "noble", "written", "heavy", "certain", "shiny", "beaten",
)  # fmt: skip
# Base, past (which is the participle too), and present participle; the object of each may be any
# thing.
_VERBS = (
    ("measure", "measured", "measuring"), ("enjoy", "enjoyed", "enjoying"),
    ("push", "pushed", "pushing"), ("tighten", "tightened", "tightening"),
    ("watch", "watched", "watching"), ("destroy", "destroyed", "destroying"),
    ("pull", "pulled", "pulling"), ("treasure", "treasured", "treasuring"),
    ("avoid", "avoided", "avoiding"), ("change", "changed", "changing"),
    ("flatten", "flattened", "flattening"), ("touch", "touched", "touching"),
    ("describe", "described", "describing"), ("hoist", "hoisted", "hoisting"),
    ("mention", "mentioned", "mentioning"), ("shorten", "shortened", "shortening"),
    ("picture", "pictured", "picturing"), ("overlook", "overlooked", "overlooking"),
    ("imagine", "imagined", "imagining"), ("reach", "reached", "reaching"),
    ("threaten", "threatened", "threatening"), ("announce", "announced", "announcing"),
    ("surround", "surrounded", "surrounding"),
)  # fmt: skip
_PLACES = (
    "in the woods", "by the church", "around the house", "on the path", "in the usual garage",
    "near the fountain", "behind the bushes", "on the mountain", "at the theater", "by the brook",
    "in the royal village", "on the beach", "in the south", "under the cushion", "at the voyage",
    "with a choice of toys", "without a sound", "for thirty thousand dollars", "in the kitchen",
    "beyond the town", "in Manhattan", "for pleasure", "with precision",
    "from the bottom of the jar",
)  # fmt: skip
_TIMES = (
    "on Thursday", "at noon", "last July", "this month", "about an hour later", "at eight thirty",
    "at her leisure", "in the month of March", "on a cloudy day", "on every occasion",
    "without a thought", "in a little while", "with joy",
)  # fmt: skip

_TEMPLATES = (
    "The {adjective} {person} {past} the {adjective_2} {thing} {place}.",
    "{name} {past} a {adjective} {thing} and {past_2} the {thing_2} {time}.",
    "Would the {adjective} {person} {verb} the {thing} {place}?",
    "{name}'s {adjective} {thing} was {past} {time}, and the {person} {past_2} it.",
    "Neither {name} nor the {person} could {verb} the {adjective} {thing}.",
    "The {thing} and the {thing_2} {place} were {past} by {name}.",
    "If the {person} should {verb} the {thing}, you could {verb_2} it {time}.",
    "{name} was {doing} the {adjective} {thing} {place} {time}.",
    "The {person} is {doing} your {thing}, but {name} has {past_2} his {adjective} {thing_2}.",
)


def si_sentence(number: int) -> str:
    """Return one of the SI sentences.

    Parameters
    ----------
    number
        From ``FIRST_SI`` to ``FIRST_SI + SI_SENTENCES - 1``.
    """
    index, template = divmod(number - FIRST_SI, len(_TEMPLATES))

    def pick(words: Sequence[T], step: int, start: int = 0) -> T:
        # Steps that differ, and lists of different lengths, keep words from recurring together.
        return words[(index * step + template + start) % len(words)]

    verb, past, doing = pick(_VERBS, 1)
    verb_2, past_2, _ = pick(_VERBS, 1, 7)
    return _TEMPLATES[template].format(
        name=pick(_NAMES, 3),
        person=pick(_PEOPLE, 2),
        thing=pick(_THINGS, 5),
        thing_2=pick(_THINGS, 5, 11),
        adjective=pick(_ADJECTIVES, 7),
        adjective_2=pick(_ADJECTIVES, 7, 13),
        verb=verb,
        past=past,
        doing=doing,
        verb_2=verb_2,
        past_2=past_2,
        place=pick(_PLACES, 4),
        time=pick(_TIMES, 2),
    )
