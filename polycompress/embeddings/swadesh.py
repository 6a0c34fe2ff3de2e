"""The 207 concepts of Swadesh's list by their usual English names, in order: lists of languages number them so.

Reference: Swadesh, "Towards greater accuracy in lexicostatistic dating", IJAL 21, 1955, and the list of 1952: together
the 207 concepts.
"""

from typing import Final

GLOSSES: Final = (
    "I you he/she we you they this that here there who what where when how not all many some few other one "
    "two three four five big/large long wide thick heavy small/little short narrow thin woman man man/person "
    "child wife husband mother father animal fish bird dog louse snake worm tree forest stick/branch fruit "
    "seed leaf root bark flower grass rope skin meat/flesh blood bone fat egg horn tail feather hair head ear "
    "eye nose mouth tooth tongue fingernail/nail foot leg knee hand/arm wing belly guts neck back breast "
    "heart liver drink eat bite suck spit vomit blow breathe laugh see hear know think smell fear sleep live "
    "die kill fight hunt hit/beat cut split stab scratch dig swim fly walk/go come lie sit stand turn fall "
    "give hold squeeze rub wash wipe pull push throw tie sew count say sing play float flow freeze swell sun "
    "moon star water rain river lake sea salt stone sand dust earth cloud fog sky wind snow ice smoke fire "
    "ash/ashes burn road mountain red green yellow white black night day year warm cold full new old good bad "
    "rotten dirty straight round sharp dull smooth wet dry correct near far right left at in with and if "
    "because name"
).split()
"""Several names of one concept have ``/`` between."""
