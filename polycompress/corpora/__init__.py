"""Where text comes from: files, directories and data sets, plain or compressed, streamed.

Nothing here holds more than a block of a file in memory. Whatever is wrong with a file (not there, not UTF-8,
binary, cut off) ends in an ``InputError`` that names the file and the place.
"""

from polycompress.corpora.cleaning import CLEANING
from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.duplicates import Duplicates, find_duplicates
from polycompress.corpora.files import describe, find_files
from polycompress.corpora.hashing import is_held_out
from polycompress.corpora.hub_datasets import DatasetSpec, parse_dataset
from polycompress.corpora.identifying import LanguageFilter
from polycompress.corpora.lines import MAX_LINE
from polycompress.corpora.pairs import PairSpec, parse_pairs, read_pairs
from polycompress.corpora.readers import ShardReader, TextReader, read_shard, read_texts
from polycompress.corpora.reading import Reading, parse_cleaning
from polycompress.corpora.shards import BYTES_PER_SHARD, Shard, make_shards, whole_shard
from polycompress.corpora.specs import CorpusSpec, corpus_arguments, parse_corpora
from polycompress.corpora.unpacking import BLOCK

__all__ = [
    "BLOCK",
    "BYTES_PER_SHARD",
    "CLEANING",
    "CorpusSpec",
    "DamagedShardError",
    "DatasetSpec",
    "Duplicates",
    "LanguageFilter",
    "MAX_LINE",
    "PairSpec",
    "Reading",
    "Shard",
    "ShardReader",
    "TextReader",
    "corpus_arguments",
    "describe",
    "find_duplicates",
    "find_files",
    "is_held_out",
    "make_shards",
    "parse_cleaning",
    "parse_corpora",
    "parse_dataset",
    "parse_pairs",
    "read_pairs",
    "read_shard",
    "read_texts",
    "whole_shard",
]
