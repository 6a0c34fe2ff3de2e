"""Which languages a model was trained on or a data set has: the column ``covered`` of registry.tsv.

Each list is spelt as its source spells it; ``rows`` finds the registry's codes. README.md tells the sources'
licences (lists of codes are facts, no text of the sets is here).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CoverageSet:
    """The languages of one model or data set."""

    name: str
    """As in the column."""
    source: str
    """Where the list stands."""
    size: int
    """Languages by the source's own count."""
    codes: str
    """As the source spells them."""
    means: Mapping[str, str] = field(default_factory=dict)
    """Registry codes of spellings that mean something else there than in ISO 639, or are no tags."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Spellings without a row, and why."""

    @property
    def spellings(self) -> list[str]:
        """The codes, one by one."""
        return self.codes.split()


_FLORES = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab
arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn
ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn
ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek
eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn
gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn
hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn
kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl
kmb_Latn kmr_Latn knc_Arab knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn
ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Arab
min_Latn mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nqo_Nkoo
nso_Latn nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn pol_Latn
por_Latn prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh
slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn
swe_Latn swh_Latn szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi
tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab
uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn
zul_Latn
"""

SETS = (
    CoverageSet(
        name="xlmr",
        source="Conneau et al. 2020 (arXiv 1911.02116), Table 6, and fairseq, examples/xlmr",
        size=100,
        codes="""
af am ar as az be bg bn bn_rom br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hi_rom
hr hu hy id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my my_zaw ne nl no om or pa pl ps
pt ro ru sa sd si sk sl so sq sr su sv sw ta ta_rom te te_rom th tl tr ug uk ur ur_rom uz vi xh yi zh-Hans
zh-Hant
""",
        means={
            "bn_rom": "ben-Latn",
            "hi_rom": "hin-Latn",
            "ta_rom": "tam-Latn",
            "te_rom": "tel-Latn",
            "ur_rom": "urd-Latn",
            # Burmese in Zawgyi, an encoding: the same language in the same script.
            "my_zaw": "mya-Mymr",
        },
    ),
    CoverageSet(
        name="mbert",
        source="google-research/bert, multilingual.md (the cased model: with Mongolian and Thai)",
        size=104,
        codes="""
af sq ar an hy ast az ba eu bar be bn bpy bs br bg my ca ceb ce zh-Hans zh-Hant cv hr cs da nl en et fi fr gl
ka de el gu ht he hi hu is io id ga it ja jv kn kk ky ko la lv lt lmo nds lb mk mg ms ml mr min mn ne new nb
nn oc fa pms pl pt pa ro ru sco sr sh scn sk sl azb es su sw sv tl tg ta tt te th tr uk ur uz vi vo war cy fy
pnb yo
""",
    ),
    CoverageSet(
        name="xnli",
        source="Conneau et al. 2018 (arXiv 1809.05053), facebookresearch/XNLI",
        size=15,
        codes="ar bg de el en es fr hi ru sw th tr ur vi zh",
    ),
    CoverageSet(
        name="americasnli",
        source="Ebrahimi et al. 2022 (arXiv 2104.08726), abteen/americasnli",
        size=10,
        codes="aym bzd cni gn hch nah oto quy shp tar",
    ),
    CoverageSet(
        name="wikiann",
        source="Rahimi et al. 2019 (arXiv 1902.00193), the 176 configurations of unimelb-nlp/wikiann",
        size=176,
        codes="""
ace af als am an ang ar arc arz as ast ay az ba bar bat-smg be be-x-old bg bh bn bo br bs ca cbk-zam cdo ce
ceb ckb co crh cs csb cv cy da de diq dv el eml en eo es et eu ext fa fi fiu-vro fo fr frr fur fy ga gan gd
gl gn gu hak he hi hr hsb hu hy ia id ig ilo io is it ja jbo jv ka kk km kn ko ksh ku ky la lb li lij lmo ln
lt lv map-bms mg mhr mi min mk ml mn mr ms mt mwl my mzn nap nds ne nl nn no nov oc or os pa pdc pl pms pnb
ps pt qu rm ro ru rw sa sah scn sco sd sh si simple sk sl so sq sr su sv sw szl ta te tg th tk tl tr tt ug uk
ur uz vec vep vi vls vo wa war wuu xmf yi yo zea zh zh-classical zh-min-nan zh-yue
""",
        means={
            "als": "gsw-Latn",  # Wikipedia's name for Alemannic; ISO 639-3's als is Tosk Albanian
            "bh": "bho-Deva",
            # Varieties without a code of their own count for their language.
            "be-x-old": "bel-Cyrl",
            "map-bms": "jav-Latn",
            "simple": "eng-Latn",
        },
        left_out={
            "eml": "retired from ISO 639-3: Emilian and Romagnol are two languages, and the text is in both"
        },
    ),
    CoverageSet(
        name="masakhaner",
        source="Adelani et al. 2021 (arXiv 2103.11811) and 2022 (arXiv 2210.12391), masakhane-io/masakhane-ner",
        size=21,
        codes="""
amh hau ibo kin lug luo pcm swa wol yor
bam bbj ewe fon mos nya sna tsn twi xho zul
""",
    ),
    CoverageSet(
        name="sib200",
        source="Adelani et al. 2024 (arXiv 2309.07445), dadelani/sib-200",
        size=205,
        codes=_FLORES,
    ),
    CoverageSet(
        name="flores",
        source="facebookresearch/flores, flores200/README.md (204), and N'Ko, which was added later",
        size=205,
        codes=_FLORES,
    ),
)
