"""Write registry.tsv: codes, aliases and rules from here, names from langcodes (CLDR), families from glottolog.tsv.

Run it after a change to this file, to coverage_sets.py or to glottolog.tsv: ``python languages/build_registry.py``.
README.md beside it tells what each column means and where each fact comes from.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import langcodes
from coverage_sets import SETS, CoverageSet
from wordfreq import available_languages

COLUMNS = (
    "code", "iso639_3", "iso639_1", "name", "own_name", "script", "wordfreq", "spaced", "restore", "casing",
    "aliases", "family", "branch", "glottocode", "direction", "covered",
)  # fmt: skip

# One row each. Where a language has several scripts the first is the one that its bare code and name mean.
CODES = """
ace-Latn ace-Arab acm-Arab acq-Arab aeb-Arab afr-Latn ajp-Arab aka-Latn als-Latn amh-Ethi apc-Arab arb-Arab
arb-Latn ars-Arab ary-Arab arz-Arab asm-Beng ast-Latn awa-Deva ayr-Latn azb-Arab azj-Latn azj-Cyrl bak-Cyrl
bam-Latn ban-Latn bel-Cyrl bem-Latn ben-Beng ben-Latn bho-Deva bjn-Latn bjn-Arab bod-Tibt bos-Latn bug-Latn
bul-Cyrl cat-Latn ceb-Latn ces-Latn cjk-Latn ckb-Arab crh-Latn cym-Latn dan-Latn deu-Latn dik-Latn dyu-Latn
dzo-Tibt ell-Grek eng-Latn epo-Latn est-Latn eus-Latn ewe-Latn fao-Latn fij-Latn fin-Latn fon-Latn fra-Latn
fur-Latn fuv-Latn gaz-Latn gla-Latn gle-Latn glg-Latn grn-Latn guj-Gujr hat-Latn hau-Latn heb-Hebr hin-Deva
hin-Latn hne-Deva hrv-Latn hun-Latn hye-Armn ibo-Latn ilo-Latn ind-Latn isl-Latn ita-Latn jav-Latn jpn-Jpan
kab-Latn kac-Latn kam-Latn kan-Knda kas-Arab kas-Deva kat-Geor kaz-Cyrl kbp-Latn kea-Latn khk-Cyrl khm-Khmr
kik-Latn kin-Latn kir-Cyrl kmb-Latn kmr-Latn knc-Latn knc-Arab kon-Latn kor-Hang lao-Laoo lij-Latn lim-Latn
lin-Latn lit-Latn lmo-Latn ltg-Latn ltz-Latn lua-Latn lug-Latn luo-Latn lus-Latn lvs-Latn mag-Deva mai-Deva
mal-Mlym mar-Deva min-Latn min-Arab mkd-Cyrl mlt-Latn mni-Beng mos-Latn mri-Latn mya-Mymr nld-Latn nno-Latn
nob-Latn npi-Deva nqo-Nkoo nso-Latn nus-Latn nya-Latn oci-Latn ory-Orya pag-Latn pan-Guru pap-Latn pbt-Arab
pes-Arab plt-Latn pol-Latn por-Latn prs-Arab quy-Latn ron-Latn run-Latn rus-Cyrl sag-Latn san-Deva sat-Olck
scn-Latn shn-Mymr sin-Sinh slk-Latn slv-Latn smo-Latn sna-Latn snd-Arab som-Latn sot-Latn spa-Latn srd-Latn
srp-Cyrl srp-Latn ssw-Latn sun-Latn swe-Latn swh-Latn szl-Latn tam-Taml tam-Latn taq-Latn taq-Tfng tat-Cyrl
tel-Telu tel-Latn tgk-Cyrl tgl-Latn tha-Thai tir-Ethi tpi-Latn tsn-Latn tso-Latn tuk-Latn tum-Latn tur-Latn
twi-Latn tzm-Tfng uig-Arab ukr-Cyrl umb-Latn urd-Arab urd-Latn uzn-Latn uzn-Cyrl vec-Latn vie-Latn war-Latn
wol-Latn xho-Latn ydd-Hebr yor-Latn yue-Hant zho-Hans zho-Hant zsm-Latn zul-Latn
arg-Latn bar-Latn bbj-Latn bpy-Beng bre-Latn bzd-Latn che-Cyrl chv-Cyrl cni-Latn cnr-Latn fry-Latn gun-Latn
hbs-Latn hch-Latn hsb-Latn ido-Latn ina-Latn lat-Latn max-Latn nds-Latn new-Deva nhn-Latn pcm-Latn pms-Latn
pnb-Arab sco-Latn shp-Latn tar-Latn vol-Latn
ang-Latn arc-Syrc cbk-Latn cdo-Latn cos-Latn csb-Latn dgo-Deva diq-Latn div-Thaa ext-Latn frr-Latn gan-Hant
gsw-Latn hak-Latn jbo-Latn ksh-Latn lzh-Hant mhr-Cyrl mwl-Latn mzn-Arab nan-Latn nap-Latn nov-Latn oss-Cyrl
ote-Latn pdc-Latn roh-Latn sah-Cyrl sgs-Latn vep-Latn vls-Latn vro-Latn wln-Latn wuu-Hans xmf-Geor zea-Latn
"""

# The wider language that a row stands for, and is named after.
STANDS_FOR = {
    "arb": "ar", "als": "sq", "ayr": "ay", "azj": "az", "dgo": "doi", "diq": "zza", "est": "et",
    "fuv": "ff", "gaz": "om", "hbs": "sh", "khk": "mn", "kmr": "ku", "knc": "kr", "lvs": "lv", "npi": "ne",
    "ory": "or", "pbt": "ps", "pes": "fa", "plt": "mg", "quy": "qu", "swh": "sw", "uzn": "uz", "ydd": "yi",
    "zsm": "ms",
}  # fmt: skip

# Older, bibliographic, macrolanguage and other codes and names that people write.
ALIASES = {
    "als-Latn": "alb sqi", "ang-Latn": "Anglo-Saxon", "arb-Arab": "ara Modern-Standard-Arabic",
    "ayr-Latn": "aym", "azj-Latn": "aze Azeri", "bel-Cyrl": "be-x-old be-tarask", "ben-Beng": "Bengali",
    "bod-Tibt": "tib", "cbk-Latn": "cbk-zam Zamboangueño", "cdo-Latn": "Eastern-Min", "ces-Latn": "cze",
    "ckb-Arab": "Sorani", "cym-Latn": "wel", "deu-Latn": "ger", "dgo-Deva": "doi", "dik-Latn": "din",
    "diq-Latn": "zza Zazaki Dimli", "div-Thaa": "Dhivehi Maldivian", "ell-Grek": "gre Modern-Greek",
    "est-Latn": "ekk", "eus-Latn": "baq", "fra-Latn": "fre", "fry-Latn": "Frisian",
    "fuv-Latn": "ful Fulfulde", "gaz-Latn": "orm", "grn-Latn": "gug", "gsw-Latn": "Alemannic Alsatian",
    "hat-Latn": "Haitian", "heb-Hebr": "iw", "hrv-Latn": "scr", "hye-Armn": "arm", "ilo-Latn": "Ilokano",
    "ind-Latn": "in", "isl-Latn": "ice", "jav-Latn": "jw", "kat-Geor": "geo", "khk-Cyrl": "mon",
    "kir-Cyrl": "Kirghiz", "kmr-Latn": "kur Kurmanji", "knc-Latn": "kau", "kor-Hang": "kor-Kore ko-Kore",
    "ksh-Latn": "Kölsch", "lim-Latn": "Limburgan", "luo-Latn": "Luo", "lvs-Latn": "lav",
    "lzh-Hant": "zh-classical Classical-Chinese", "mhr-Cyrl": "chm Mari Meadow-Mari", "mkd-Cyrl": "mac",
    "mos-Latn": "Moore", "mri-Latn": "mao Maori", "mya-Mymr": "bur Myanmar",
    "nan-Latn": "zh-min-nan Southern-Min Hokkien", "nhn-Latn": "nah Nahuatl", "nld-Latn": "dut Flemish",
    "nob-Latn": "no nor Norwegian norsk", "npi-Deva": "nep", "nqo-Nkoo": "N'Ko",
    "nso-Latn": "Sepedi Pedi", "nya-Latn": "Chichewa Chewa", "ory-Orya": "ori Oriya",
    "oss-Cyrl": "Ossetian Iron", "ote-Latn": "oto Otomi Otomí", "pan-Guru": "Panjabi", "pbt-Arab": "pus",
    "pes-Arab": "fas per Farsi", "plt-Latn": "mlg", "pnb-Arab": "lah pan-Arab pa-Arab", "quy-Latn": "que",
    "roh-Latn": "Rumantsch", "ron-Latn": "rum mo mol Moldavian", "run-Latn": "Kirundi",
    "sah-Cyrl": "Sakha", "sgs-Latn": "bat-smg", "sin-Sinh": "Sinhalese", "slk-Latn": "slo",
    "spa-Latn": "Castilian", "srd-Latn": "sro", "srp-Cyrl": "scc", "swh-Latn": "swa",
    "tgl-Latn": "tl fil Filipino", "tsn-Latn": "Setswana", "uig-Arab": "Uighur", "uzn-Latn": "uzb",
    "vro-Latn": "fiu-vro", "ydd-Hebr": "yid ji", "yue-Hant": "zh-yue",
    "zho-Hans": "chi cmn cmn-Hans zh-CN zh-SG Chinese Mandarin Simplified-Chinese 中文 汉语",
    "zho-Hant": "cmn-Hant zh-TW zh-HK Traditional-Chinese", "zsm-Latn": "may msa",
}  # fmt: skip

# Names that the library gives another language too, or not in the form people know.
NAMES = {
    "tgl-Latn": ("Tagalog", "Tagalog"),
    "twi-Latn": ("Twi", "Twi"),
    "tzm-Tfng": ("Central Atlas Tamazight", "ⵜⴰⵎⴰⵣⵉⵖⵜ"),
    "cnr-Latn": ("Montenegrin", "crnogorski"),
    "div-Thaa": ("Divehi", "ދިވެހި"),
    "mhr-Cyrl": ("Eastern Mari", "олык марий"),
    "ote-Latn": ("Mezquital Otomi", "Hñähñu"),
}
NAME_TAGS = {"zho-Hans": "zh-Hans", "zho-Hant": "zh-Hant"}

# wordfreq calls one list of Latin-script Bosnian, Croatian, Montenegrin and Serbian text "sh". Its Chinese
# list is folded to simplified characters.
WORDFREQ = {
    "bos-Latn": "sh", "cnr-Latn": "sh", "hrv-Latn": "sh", "srp-Latn": "sh", "srp-Cyrl": "", "tgl-Latn": "fil",
    "zho-Hant": "",
}  # fmt: skip

UNSPACED = {
    "bod-Tibt", "dzo-Tibt", "gan-Hant", "jpn-Jpan", "khm-Khmr", "lao-Laoo", "lzh-Hant", "mya-Mymr", "shn-Mymr",
    "tha-Thai", "wuu-Hans", "yue-Hant", "zho-Hans", "zho-Hant",
}  # fmt: skip
RIGHT_TO_LEFT = {"Arab", "Hebr", "Nkoo", "Syrc", "Thaa"}
RESTORE = {"deu-Latn": "ss>ß", "ell-Grek": "σ$>ς", "ron-Latn": "ș>ş;ț>ţ"}
CASING = {"azj-Latn": "tr", "crh-Latn": "tr", "tur-Latn": "tr"}


def rows() -> list[dict[str, str]]:
    """All rows of the table, in the order of CODES."""
    lists = set(available_languages("best"))
    places = glottolog()
    seen: set[str] = set()
    table = []
    for code in CODES.split():
        iso639_3, script = code.split("-")
        first = iso639_3 not in seen
        seen.add(iso639_3)
        standard = langcodes.standardize_tag(iso639_3)
        base = STANDS_FOR.get(iso639_3) or (standard if len(standard) == 2 else iso639_3)
        named = langcodes.Language.get(
            NAME_TAGS.get(code, base if first else f"{base}-{script}"), normalize=False
        )
        name, own_name = NAMES.get(code) or (named.display_name(), named.autonym())
        table.append(
            {
                "code": code,
                "iso639_3": iso639_3,
                "iso639_1": base if len(base) == 2 else "",
                "name": name,
                "own_name": own_name,
                "script": script,
                "wordfreq": WORDFREQ.get(code, base if first and base in lists else ""),
                "spaced": "no" if code in UNSPACED else "yes",
                "restore": RESTORE.get(code, ""),
                "casing": CASING.get(code, ""),
                "aliases": ";".join(aliases(code, name, first)),
                **places[iso639_3],
                "direction": "rtl" if script in RIGHT_TO_LEFT else "ltr",
            }
        )
    for row in table:
        row["covered"] = "wordfreq" if row["wordfreq"] else ""
    for coverage in SETS:
        covered = {find(spelling, coverage, table)["code"] for spelling in kept(coverage)}
        for row in table:
            if row["code"] in covered:
                row["covered"] += (";" if row["covered"] else "") + coverage.name
    return table


def glottolog() -> dict[str, dict[str, str]]:
    """Family, branch and glottocode by ISO 639-3 code."""
    with Path(__file__).with_name("glottolog.tsv").open(encoding="utf-8") as file:
        found = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            row["iso639_3"]: {key: row[key] for key in ("family", "branch", "glottocode")} for row in found
        }


def kept(coverage: CoverageSet) -> list[str]:
    """The spellings of a set that have a row."""
    return [spelling for spelling in coverage.spellings if spelling not in coverage.left_out]


def find(spelling: str, coverage: CoverageSet, table: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """The row that a set's spelling of a language means."""
    wanted = coverage.means.get(spelling, spelling).replace("_", "-")
    for row in table:
        if wanted == row["code"]:
            return row
    for row in table:  # the first of a language's rows is the one that its bare code means
        codes = [row["iso639_3"], row["iso639_1"], *row["aliases"].split(";")]
        if wanted in codes or wanted in [f"{code}-{row['script']}" for code in codes]:
            return row
    raise LookupError(f"{coverage.name}: no row for {spelling}")


def aliases(code: str, name: str, first: bool) -> list[str]:
    """Other codes and names of a row: curated ones, and what the library calls the narrower language."""
    curated = ALIASES.get(code, "").split()
    found = [alias if alias[:1].islower() else alias.replace("-", " ") for alias in curated]
    own = langcodes.Language.get(code.split("-")[0], normalize=False).display_name()
    if first and code.split("-")[0] in STANDS_FOR and "[" not in own and own != name:
        found.append(own.removesuffix(" (individual language)"))
    return [alias for alias in dict.fromkeys(found) if alias != name]


def main() -> None:
    """Write the table beside this file."""
    lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows())]
    Path(__file__).with_name("registry.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
