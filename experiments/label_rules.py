"""The tables that choose and label the pictures of the embedded data.

Read by `build_embedded_data.py`. Both sets share one vocabulary, LABELS. A clip-art picture is
labelled by the folders that it stands in, then by whole words of its title, keywords and file name;
an emoji by its Unicode subgroup, then by whole words of its name. LABELS_OF_SINGLE_ITEMS has the
last word.
"""

# ruff: noqa: SIM905  (a table of two hundred quoted words is harder to read)
from __future__ import annotations

import re
from collections.abc import Iterable

LABELS = (
    "nature", "animal", "aquatic", "bird", "insect", "mammal", "plant", "flower", "weather",
    "food", "dessert", "drink", "fruit",
    "people", "face",
    "object", "clothing", "computer", "office", "tool",
    "place", "building", "transport", "space",
    "activity", "music", "sport", "game", "holiday",
    "flag", "sign",
)  # fmt: skip

# What a label means where its name does not say it.
LABEL_NOTES = {
    "activity": "music, sport, games and feasts",
    "aquatic": "fish and what else lives in water, whales included",
    "game": "games, toys, chess pieces and playing cards",
    "holiday": "feasts and parties",
    "insect": "insects, spiders, snails and worms",
    "nature": "animals, plants and weather",
    "object": "things: of an office, a house, a workshop, to wear, clocks and electrical things",
    "office": "writing and school things, books, mail and money",
    "people": "people and parts of the body",
    "place": "buildings, vehicles, maps, globes, landscapes and space",
    "sign": "road signs, warnings, pictograms, symbols and arrows",
    "tool": "tools, also of gardens, laboratories and medicine",
}

# Topics that the tables below tell apart and the vocabulary does not.
FOLDED = {
    "body": "people",
    "clock": "object",
    "electronics": "object",
    "geography": "place",
    "household": "object",
}

# A picture with the first label has the second too. The widest labels are the groups of the Unicode
# emoji charts, so that every picture stands under one of eight common roofs.
IMPLIED = {
    "aquatic": "animal",
    "bird": "animal",
    "insect": "animal",
    "mammal": "animal",
    "animal": "nature",
    "flower": "plant",
    "plant": "nature",
    "weather": "nature",
    "dessert": "food",
    "drink": "food",
    "fruit": "food",
    "clothing": "object",
    "computer": "object",
    "office": "object",
    "tool": "object",
    "building": "place",
    "transport": "place",
    "space": "place",
    "music": "activity",
    "sport": "activity",
    "game": "activity",
    "holiday": "activity",
}

# --- clip art: what is left out -------------------------------------------------------------------

DROPPED_FOLDERS = (
    "buttons", "computer/buttons", "computer/connectors", "computer/diagrams", "computer/folders",
    "computer/icons", "computer/network", "decorations", "logos", "people/clothing/pantyhose",
    "recreation/religion", "shapes", "signs_and_symbols/flags/historic",
    "signs_and_symbols/flags/miscellany", "signs_and_symbols/led", "special",
    "tools/weapons", "unsorted",
)  # fmt: skip

# A picture with one of these words in title, keywords or file name is left out: violence, drugs,
# sex, hatred, politics, religion as a quarrel, real people, and pictures that are no pictures.
DROPPED_WORDS = frozenset(
    """
    ak47 atomic bomb bullet bulletholes gun guns gunshot grenade kill killed m16 missile mortar
    projectile rifle weapon weapons war military army gallows dead death skull crossbones
    skeleton poison
    cannabis joint marijuana weed drug drugs cigarette smoking tobacco stripper sex sexy nude
    naked pantyhose collant pimp pregnancy chav cccp soviet ussr anarchy communism nazi swastika
    aids politics political president discordia discordian eris kallisti lovecraft pentagram
    illuminati sunwheel creation religion religious muslim turban bible jesus christ
    martin-luther-king einstein coltrane leisler microsoft xbill hitchhikers panic
    logo logos font fonts template crop barcode blueprint
    """.split()
)

# Single items, by file name: insults, nudity, ridicule, misfiled and illegible pictures.
DROPPED_ITEMS = frozenset(
    """
    2_dead_frogs_lumen_desig_01 hide_girl_sergio_luiz_ar_02 bad_guy_fr_1_01
    brozo_the_clown_enrique__01 martin_luther_king_jr._h_01 martin_luther_king_jr._h_02
    martin_luther_king_jr._h_03 john_coltrane_portrait_j_01 bitte_keine_tueten_rauc_01
    lucchetto_grigio_archite_01 lucchetto_ottone_archite_01 tante_orme_sulla_neve_ar_01
    building_zazou munch_student_zazou residential_house_zazou teacher_zazou internet_zazou
    network_zazou padania_ani_ani_01 gnu_linux_disco_dance_an_01 smoke_nicu_buculei_01
    smoke_nicu_buculei_02 smoke_nicu_buculei_03 kexi_kexi_team_01 zinf_santiago_diaz_
    van_gogh_s_room_enrique__01 virus_andreas_nilsson_01 hacker_emblem nosmoke
    architetto_francesco_ro_01 three_eyes_01 c_rollandin_francesco_ar_01
    cross_hand_drawn_linda_k_01 cross_hand_drawn_linda_k_02 human_humain_umano_sed_r
    coat_of_arms_of_anglica_01 for_sale_sign_template_01 font_samples_revdoug_01
    nws_government_website__01 menu_example1 menu_example2 menu_example3 menu_example4
    menu_example5 menu_example6 menu_example_ defense_de_fumer_yves_gu_01
    samoa_tatoo_pattern_ skull_charles_mccolm_01 evolution_steps_marcelo__01
    probability_from_0.0_to_01 mpcad_box_30x20x100_cels_01 mpcad_box_40x30x80_celso_01
    mpcad_box_60x15x60_celso_01 wing_mitchell_johnson_si_ cartoon_vgcats_fanart_01
    emule_icon_emule.org_01 domo_kun_nicu_buculei_01 domo_kun_nicu_buculei_02
    silhouette_female_1 silhouette_female_2 silhouette_female_3 silhouette_male_1
    silhouette_male_2 silhouette_male_3 female_rollandin_frances_ gender_jakob_chaosinfait_
    logic_functions_digital_01 model-view-controller_ia_01 jabbear_01 linux_powered_none_01
    part_of_the_flat_icon_c_01 otto_01 otto_02 firewall2_hash_0x89c79d4_01
    straw_tote_linda_kim_01 laser_pointer_on_screen_01 bucket_michael_moore_ browser
    _armenia_ani_ani_02 _italy__lauris_kaplinski_01 yellow-scroll_benji_park_01 reload
    panel_fudriot_omic.ch_01 ink_ff77_01 penny_front_jonadab_the__01 flower-pot_01
    flower-pot_02 metal_cage_kurt_nordstro_ natural_gas_pump_well_jo_01
    nodding_donkey_kevin_cow_01 double_helix_anthony_lie_01 shi_ken_01
    nunchaku_sergio_luiz_ara_01 ticket_benji_park_ cat_scrathing_post_benji_01
    fuoco_da_campeggio_archi_01 gateway_andy_fitzsimon_r router_andy_fitzsimon_r
    preenchimento_inkscape_s_01 bluepane_01 saxony_coat_of_arms_me_01 pastas_s_rgio_luiz_ara_j_01
    silvia_01 saku_robot__anton_yu_01 inuit_inukshuk_gerald_g._01
    advertising_yves_guillo_r mirjam_meijer_mirjam_mei_01
    m_tristan_le_toullec_01 telefono_email_frolland_01
    """.split()
)

# File names that end so: plan symbols of gardens and houses, illegible at this size.
DROPPED_ENDINGS = ("_symbol_1m_bwh", "_symbol_10cm_bwh")

# Words that say nothing of the picture: of the collection, of the file or of its maker.
DROPPED_KEYWORDS = frozenset(
    """
    hash unsorted clipart clip_art openclipart svg icon icons appicon theme icon_theme mapsym
    networksym musicsym musicstuff weathersym signs_and_symbols signs-and-symbols usholiday
    religholiday foodfruits cv-clip jza mimeicon mimetypes mime-types lemon_theme_icon
    united_nations_member map_symbol shape geometry
    """.split()
)

# A title that begins so is the name of a collection; the file name speaks instead.
COLLECTION_TITLES = (
    "clipart by", "etiquette icons", "r15 general", "r16 sibmission", "homes clipart", "sallite",
    "blueberry", "various cliparts", "lemon svg theme", "svg road signs", "road signs",
    "aiga_symbol_signs", "map symbols", "advertising", "chess pieces", "australian maps",
    "architetto francesco", "part of the flat icon", "diner menu collection", "pc connectors",
    "ralf@", "moons", "tempus fugit",
)  # fmt: skip

# Copies that stand in a folder where they do not belong.
MISFILED = frozenset(
    f"recreation/games/cards/{name}"
    for name in (
        "andalusia_01", "audio_cassette_mo_01", "brown_hair_boy_face_mike_02",
        "celtic-vine-corner_steve_01", "jacob_leisler_mo_01", "photo_rikva_01",
        "two_cats_tess_brady_01",
    )
)  # fmt: skip

FLAG_FOLDER = "signs_and_symbols/flags"
CARD_FOLDER = "recreation/games/cards"
MAX_FLAGS = 80
MAX_CARDS = 25

# --- clip art: labels -----------------------------------------------------------------------------

# The longest folder that fits decides; a picture that is filed in several folders gets the labels
# of all of them. An empty tuple leaves the decision to the words.
FOLDER_LABELS: dict[str, tuple[str, ...]] = {
    "animals": ("animal",),
    "animals/birds": ("bird",),
    "animals/bugs": ("insect",),
    "animals/fantasy": (),
    "animals/fish": ("aquatic",),
    "animals/mammals": ("mammal",),
    "buildings": ("building",),
    "buildings/furniture": ("household",),
    "computer": ("computer",),
    "computer/games": ("computer", "game"),
    "containers": ("household",),
    "education": ("office",),
    "electronics": ("electronics",),
    "food": ("food",),
    "food/beverages": ("drink",),
    "food/desserts": ("dessert",),
    "food/fruit": ("fruit",),
    "geography": ("geography",),
    "geography/astronomy": ("space",),
    "office": ("office",),
    "office/telephone": ("electronics",),
    "people": ("people",),
    "people/bodypart": ("body",),
    "people/clothing": ("clothing",),
    "people/smilies": ("face",),
    "plants": ("plant",),
    "plants/flowers": ("flower",),
    "recreation": (),
    "recreation/games": ("game",),
    "recreation/holiday/christmas": ("holiday",),
    "recreation/holiday/easter": ("holiday",),
    "recreation/holiday/thanksgiving": ("holiday",),
    "recreation/holiday/valentines": ("holiday",),
    "recreation/music": ("music",),
    "recreation/sports": ("sport",),
    "recreation/toys": ("game",),
    "science": ("tool",),
    "science/astronomy": ("space",),
    "signs_and_symbols": ("sign",),
    "signs_and_symbols/clocks": ("clock",),
    "signs_and_symbols/flags": ("flag",),
    "signs_and_symbols/flags/semaphore": ("flag", "people"),
    "signs_and_symbols/map_symbols": ("sign",),
    "signs_and_symbols/money": (),
    "signs_and_symbols/weather": ("weather",),
    "tools": ("tool",),
    "tools/toys": ("game",),
    "transportation": ("transport",),
    "transportation/aiga-symbols": ("sign",),
    "transportation/roadsigns": ("sign",),
}

# Whole words of the title, the keywords and the file name that add a label.
WORD_LABELS: dict[str, tuple[str, ...]] = {
    "aquatic": ("fish", "crawfish", "dolphin", "orca", "seahorse", "angelfish", "cichlid", "shark"),
    "bird": (
        "bird", "penguin", "tux", "duck", "eagle", "owl", "rooster", "dove", "seagull",
    ),
    "insect": ("insect", "butterfly", "mosquito"),
    "mammal": (
        "mammal", "monkey", "seal", "rabbit", "squirrel", "elephant", "olifant", "fawn", "bison",
        "bunny",
    ),
    "fruit": ("fruit", "fruits", "watermelon"),
    "dessert": ("dessert", "desserts", "icecream", "candy", "marshmallow"),
    "drink": ("beverage", "coffee", "tea", "juice", "wine-glass", "teapot", "lemonade", "beer"),
    "food": ("food",),
    "plant": ("plant", "tree", "trees", "mushroom", "palmtree", "cactus"),
    "flower": ("flower", "flowers", "sakura", "daffodil", "tulips"),
    "people": (
        "woman", "stickmen", "dancer", "dancers", "yoga", "mermaid", "judo", "karate", "fireman",
        "aerobica", "bakasana", "garudasana", "harnsasana", "khagarnasana", "kzounchasana",
        "mayuzasana", "paksinasana", "stacco",
    ),
    "face": ("face", "smiley", "smileytwinkle"),
    "body": ("bodypart", "handshake"),
    "clothing": ("clothing", "hat", "shoes", "shoe", "sunglasses", "t-shirt"),
    "building": (
        "building", "house", "castle", "lighthouse", "church", "factory", "fabbrica", "barn",
    ),
    "household": (
        "furniture", "lamp", "bucket", "broom", "vacuum", "toothbrush", "umbrella", "plate",
        "bowl", "pan", "keyring",
    ),
    "transport": (
        "boat", "vehicle", "vehicles", "airtravel", "car", "truck", "bus", "bicycle", "train",
        "plane", "airplane",
    ),
    "computer": ("computer", "laptop", "floppydisk", "keyboard", "hardware", "printer"),
    "electronics": (
        "electronic", "phone", "telephone", "television", "tv", "camera", "battery", "gps", "radio",
        "pda", "cellphone", "lightbulb", "boombox",
    ),
    "office": ("stationery", "book", "envelope", "pen", "pencil", "money", "scissors"),
    "tool": ("tool", "tools", "telescope", "spyglass"),
    "clock": ("clock", "hourglass", "cronometro", "clessidra", "sandglass"),
    "music": ("music", "drum", "guitar"),
    "sport": ("sports", "sport", "billiard", "soccer", "golf", "baseball"),
    "game": ("game", "games", "toy", "toys", "chess", "dice"),
    "holiday": (
        "christmas", "xmas", "halloween", "easter", "valentine", "valentines", "thanksgiving",
        "birthday", "wedding", "fireworks", "balloon", "balloons", "baloon1", "baloon2", "party",
        "gift", "midautumn", "palloncini", "pacco",
        "shamrock",
    ),
    "flag": ("flags",),
    "sign": ("roadsign",),
    "geography": ("map", "maps", "globe", "mountain", "hill", "island", "landscapes"),
    "space": ("astronomy", "space", "planet", "moon", "rocket", "eclipse"),
    "weather": ("weather", "rainbow", "clouds", "lightning", "snowman"),
}  # fmt: skip

# Where a folder rule or a word rule is wrong as a rule: a picture in the folder (or with the word)
# does not have the label, whatever else says so.
REFUSED_LABELS: tuple[tuple[str, str, str], ...] = (
    # (label, word that must be present, folder that it must stand in); "" is any
    ("sign", "flags", ""),
    ("sign", "", "signs_and_symbols/flags"),
    ("sign", "elements", "signs_and_symbols/map_symbols"),
    ("sign", "cloud", "signs_and_symbols"),
    ("sign", "clock", "signs_and_symbols"),
    ("sign", "padlock", "signs_and_symbols"),
    ("sign", "battery", "signs_and_symbols"),
    ("sign", "keyboard", "signs_and_symbols"),
    ("sign", "hourglass", "signs_and_symbols"),
    ("sign", "scissors", "signs_and_symbols"),
    ("sign", "floppydisk", "signs_and_symbols"),
    ("sign", "mapa", ""),
    ("sign", "pen", "signs_and_symbols"),
    ("sign", "eagle", "signs_and_symbols"),
    ("sign", "money", "signs_and_symbols"),
    ("transport", "roadsign", ""),
    ("transport", "lighthouse", ""),
    ("household", "cakes", ""),
    ("household", "umbrella", "transportation/roadsigns"),
    ("mammal", "toy", ""),
    ("animal", "toy", ""),
    ("bird", "toy", ""),
    ("people", "smiley", "people/smilies"),
    ("people", "", "transportation/aiga-symbols"),
    ("computer", "tux", ""),
    ("computer", "battery", ""),
    ("computer", "home", ""),
    ("flag", "map", ""),
    ("geography", "gps", ""),
    ("geography", "moon", ""),
    ("geography", "music", ""),
    ("geography", "", "signs_and_symbols/flags"),
    ("geography", "tree", "signs_and_symbols/map_symbols"),
    ("geography", "plant", "signs_and_symbols/map_symbols"),
    ("geography", "castle", "signs_and_symbols/map_symbols"),
    ("plant", "", "signs_and_symbols/flags"),
    ("sport", "", "signs_and_symbols/flags"),
    ("weather", "moon", "geography/astronomy"),
    ("weather", "plane", ""),
    ("fruit", "juice", ""),
    ("fruit", "pie", ""),
)

# The labels of single items, by file name; nothing else is asked about these.
LABELS_OF_SINGLE_ITEMS: dict[str, tuple[str, ...]] = {
    "addressed_envelope_with_stamp_01": ("office",),
    "arrow1_sergio_luiz_arauj_01": ("sign",),
    "baby_bottle_01": ("drink",),
    "beach_ball_01": ("game",),
    "binoculars_vladimir_hern_01": ("tool",),
    "blue_eye_alex_fernandez_01": ("body",),
    "blue_eye_kilian_valkhof_": ("body",),
    "bottle_jean_victor_balin_": ("household",),
    "basque_patricia_fidi_01": ("flag",),
    "bowsaw_benji_park_01": ("tool",),
    "brick_frouke_01": ("building",),
    "bypasspruner_benji_park_01": ("tool",),
    "cacuts_01": ("plant",),
    "calebasse_01": ("household",),
    "canada_umbrella_ganson": ("household",),
    "card_figure_jack_nicu_r": ("people", "game"),
    "card_figure_joker_nic_r": ("people", "game"),
    "card_figure_king_nicu_r": ("people", "game"),
    "card_figure_queen_nic_r": ("people", "game"),
    "card_figures_-_club_01": ("game",),
    "card_figures_-_diamond_01": ("game",),
    "card_figures_-_heart_01": ("game",),
    "card_figures_-_spade_01": ("game",),
    "carnegie_library_building_01": ("building",),
    "cartoon_squirrel_mike_sm1": ("mammal",),
    "cellular_phone_shandy_br_": ("electronics",),
    "chain_nicu_buculei_01": ("tool",),
    "champignon_01": ("food", "plant"),
    "chat_icon_01": ("sign",),
    "chef_jarno_vasamaa_": ("food", "people"),
    "chemical_science_experience_01": ("tool",),
    "christmas_balls_mo_01": ("holiday",),
    "christmas_light_jasper_v_01": ("holiday",),
    "city_horizon_jon_phillip_01": ("building",),
    "cloud_jon_phillips_01": ("weather",),
    "clessidra_architetto_fra_01": ("clock",),
    "come_si_dispongono_le_p_01": ("household",),
    "compass_01": ("geography",),
    "contour_bat": ("mammal",),
    "couronne_01": ("clothing",),
    "crossroads": ("sign",),
    "cup_rollandin_francesco_": ("household",),
    "curve_ahead": ("sign",),
    "cycle_route": ("sign",),
    "cymru_flag_wales_michae_": ("flag",),
    "desk_lamp_gerald_g._01": ("household",),
    "diamond_juliane_krug_01": ("clothing",),
    "digital_camera_nicu_bucu_01": ("electronics",),
    "dream_flower_janet_theob_01": ("flower",),
    "eiffel_tower_michael_ja_r": ("building",),
    "erlenmeyer_jean_vitor_ba_": ("tool",),
    "eye_01": ("body",),
    "eye_nicu_buculei_": ("body",),
    "eyes_lumen_design_studio_01": ("body",),
    "fabbrica_architetto_fran_01": ("building",),
    "fawn_mo_01": ("mammal",),
    "fingerprint_stefan_illne_": ("body",),
    "floppy_frederic_moser_01": ("computer",),
    "fondue_uliphant_01": ("food",),
    "footprints_in_sand_ganson": ("body",),
    "gold_chain_curved_as_a__01": ("clothing",),
    "gold_chain_of_round_lin_01": ("clothing",),
    "grain_elevator_ganson": ("building",),
    "grapes_01": ("fruit",),
    "handphone_2_toh_yen_chen_01": ("electronics",),
    "handphone_toh_yen_cheng_01": ("electronics",),
    "icicles_benji_park_": ("weather",),
    "icons_lumen_design_studi_01": ("sign", "people"),
    "iris_and_pupil_chris_hin_01": ("body",),
    "knitting": ("household",),
    "knitting_01": ("household",),
    "lampada_di_aladino_alad_01": ("household",),
    "lamp_sergio_luiz_araujo__01": ("electronics",),
    "lana_architetto_francesc_01": ("household",),
    "large_braces.svg_amos_01": ("sign",),
    "lcd_monitor_shandy_brown_": ("computer",),
    "leafrake_benji_park_01": ("tool",),
    "left_hand_print_benji_pa_01": ("body",),
    "liberty_architetto_franc_01": ("household",),
    "lightbulb_sketch_erich_s_01": ("electronics",),
    "little_tan_suitcase_jona_": ("household",),
    "lotion_linda_kim_01": ("household",),
    "macchina_fotografica_di_01": ("electronics",),
    "mattone_poroton_architet_01": ("building",),
    "map_of_poland_guziec_": ("geography",),
    "maya_head_benji_park_01": ("people", "face"),
    "meatgrinder_benji_park_": ("household", "tool"),
    "mix_cucina_frullatore_ar_01": ("household",),
    "monetary_euro_symbol_01": ("office", "sign"),
    "moon_charles_mccolm_01": ("space",),
    "mouse1": ("computer",),
    "nitrox_scuba_tank_01": ("sport",),
    "old_sign_ganson": ("sign",),
    "olifant_mo_01": ("mammal",),
    "open_box_nicu_buculei_01": ("household",),
    "padlock_silhouette_a.j.__01": ("tool",),
    "padlock_unlocked_silhou_01": ("tool",),
    "page_01": ("office",),
    "pan_frouke_01": ("household",),
    "patchwork_01": ("household",),
    "pda_toh_yen_cheng_01": ("computer", "electronics"),
    "pen_sek_": ("office",),
    "pencil_benji_park_01": ("office",),
    "phone_sergio_luiz_araujo_01": ("electronics",),
    "piggybank": ("office",),
    "portafoglio_architetto_f_01": ("office",),
    "printer1": ("computer",),
    "radio_wireless_tower_cor_": ("electronics",),
    "rainbow_linda_kim_01": ("weather",),
    "rca_stereo_cd_player_jo_r": ("music", "electronics"),
    "reminder-hand_benji_park_01": ("body",),
    "reunion_01": ("people", "office"),
    "right_hand_print_benji_p_01": ("body",),
    "route_jakob_chaosinfa_": ("sign",),
    "safety_pin_timothy_whit_r": ("household",),
    "sailor_monkey_nicu_bucul_01": ("mammal",),
    "sand_glass_frederic_mose_01": ("clock",),
    "saphire_ganson": ("clothing",),
    "school_country__abiclipa_01": ("building",),
    "school_hallway_gerald_g._01": ("building",),
    "school_in_fall_abiclipar_01": ("building",),
    "scolapasta_e_pentola_arc_01": ("household",),
    "scuba_tank_01": ("sport",),
    "shamrock_for_march_natha_01": ("plant", "holiday"),
    "shamrock_symbol_jonadab__01": ("plant", "holiday"),
    "simple_calculator_01": ("office",),
    "slim_cell_phone_israel_c_01": ("electronics",),
    "small_square_table_01": ("household",),
    "southen_cross_01": ("space",),
    "southen_cross_black_01": ("space",),
    "sportcar_sergio_luiz_ara_01": ("transport",),
    "spyglass_vladimir_hernan_01": ("tool",),
    "street_sign_gerald_g._01": ("sign",),
    "stylized_cd_jakob_chaosi_": ("computer",),
    "symbol_for_a_church_on__01": ("sign",),
    "televisore_telecomando_a_01": ("electronics",),
    "the_electronic_mail_raph_01": ("office",),
    "toque_01": ("clothing",),
    "trophy": ("sport",),
    "turkey_on_platter_01": ("food", "holiday"),
    "turkey_platter_01_with_fruit_and_vegitables_01": ("food", "holiday"),
    "umbrella": ("household",),
    "user_frederic_moser_01": ("people",),
    "video_lcd_sergio_luiz_ar_01": ("computer",),
    "water_fight__ganson": ("people",),
    "water_fight_ganson1": ("people",),
    "woman_eye_lumen_design_s_01": ("body",),
    "woman_eyes_lumen_design__01": ("body",),
    "wooden_barrel_petri_lumm_01": ("household",),
    "wooden_table_benji_park_01": ("household",),
    "xmas": ("holiday", "plant"),
}

# --- emoji ----------------------------------------------------------------------------------------

# Hexcodes of emoji that a reader could find offensive, and of bare modifiers.
DROPPED_EMOJI = frozenset(
    """
    1F595 1F4A9 1F6AC 1F6AD 1F51E 1F92C 1F52B 1F4A3 1F5E1 2694 26B0 26B1 1FAA6 1F480 2620 1FA78
    1FAC3 1FAC4 1F930 1F9A0 1F4A2 1FA96 1F6E1 1F3E9 1F397 1F3AD 1F525
    """.split()
)

SUBGROUP_LABELS: dict[str, tuple[str, ...]] = {
    "face-smiling": ("face",),
    "face-affection": ("face",),
    "face-tongue": ("face",),
    "face-hand": ("face",),
    "face-neutral-skeptical": ("face",),
    "face-sleepy": ("face",),
    "face-unwell": ("face",),
    "face-hat": ("face",),
    "face-glasses": ("face",),
    "face-concerned": ("face",),
    "face-negative": ("face",),
    "face-costume": ("face",),
    "cat-face": ("face", "mammal"),
    "monkey-face": ("face", "mammal"),
    "heart": ("sign",),
    "emotion": ("sign",),
    "hand-fingers-open": ("body",),
    "hand-fingers-partial": ("body",),
    "hand-single-finger": ("body",),
    "hand-fingers-closed": ("body",),
    "hands": ("body",),
    "hand-prop": ("body",),
    "body-parts": ("body",),
    "person": ("people",),
    "person-gesture": ("people",),
    "person-role": ("people",),
    "person-fantasy": ("people",),
    "person-activity": ("people",),
    "person-sport": ("people", "sport"),
    "person-resting": ("people",),
    "family": ("people",),
    "person-symbol": ("people", "sign"),
    "animal-mammal": ("mammal",),
    "animal-bird": ("bird",),
    "animal-amphibian": ("animal",),
    "animal-reptile": ("animal",),
    "animal-marine": ("aquatic",),
    "animal-bug": ("insect",),
    "plant-flower": ("flower",),
    "plant-other": ("plant",),
    "food-fruit": ("fruit",),
    "food-vegetable": ("food",),
    "food-prepared": ("food",),
    "food-asian": ("food",),
    "food-marine": ("food", "aquatic"),
    "food-sweet": ("dessert",),
    "drink": ("drink",),
    "dishware": ("household",),
    "place-map": ("geography",),
    "place-geographic": ("geography",),
    "place-building": ("building",),
    "place-religious": ("building",),
    "place-other": (),
    "transport-ground": ("transport",),
    "transport-water": ("transport",),
    "transport-air": ("transport",),
    "hotel": ("household",),
    "time": ("clock",),
    "sky-weather": ("weather",),
    "event": ("holiday",),
    "award-medal": ("sport",),
    "sport": ("sport",),
    "game": ("game",),
    "arts-crafts": (),
    "clothing": ("clothing",),
    "sound": ("electronics",),
    "music": ("music",),
    "musical-instrument": ("music",),
    "phone": ("electronics",),
    "computer": ("computer",),
    "light-video": ("electronics",),
    "book-paper": ("office",),
    "money": ("office",),
    "mail": ("office",),
    "writing": ("office",),
    "office": ("office",),
    "lock": ("tool",),
    "tool": ("tool",),
    "science": ("tool",),
    "medical": ("tool",),
    "household": ("household",),
    "other-object": (),
    "transport-sign": ("sign",),
    "warning": ("sign",),
    "arrow": ("sign",),
    "religion": ("sign",),
    "zodiac": ("sign",),
    "av-symbol": ("sign",),
    "gender": ("sign",),
    "math": ("sign",),
    "punctuation": ("sign",),
    "currency": ("sign",),
    "other-symbol": ("sign",),
    "keycap": ("sign",),
    "alphanum": ("sign",),
    "geometric": ("sign",),
    "flag": ("flag",),
    "country-flag": ("flag",),
    "subdivision-flag": ("flag",),
}

# Moon, stars and planets: what Unicode files under the weather.
_SPACE_EMOJI = """
    1F311 1F312 1F313 1F314 1F315 1F316 1F317 1F318 1F319 1F30C 1F31F 1F320 1FA90 2B50 2604
    """.split()

# Labels of single emoji by hexcode, in place of those of their subgroup.
LABELS_OF_SINGLE_EMOJI: dict[str, tuple[str, ...]] = {
    "1F36F": ("food",),  # honey pot
    "1F37E": ("drink", "holiday"),  # bottle with popping cork
    "1F37C": ("drink",),  # baby bottle
    "1F433": ("aquatic", "mammal"),  # spouting whale
    "1F40B": ("aquatic", "mammal"),  # whale
    "1F42C": ("aquatic", "mammal"),  # dolphin
    "1F9AD": ("aquatic", "mammal"),  # seal
    "1F42D": ("mammal", "face"),  # mouse face
    "1F42E": ("mammal", "face"),
    "1F42F": ("mammal", "face"),
    "1F430": ("mammal", "face"),
    "1F431": ("mammal", "face"),
    "1F434": ("mammal", "face"),
    "1F435": ("mammal", "face"),
    "1F436": ("mammal", "face"),
    "1F437": ("mammal", "face"),
    "1F438": ("animal", "face"),
    "1F432": ("animal", "face"),
    "1F43C": ("mammal", "face"),
    "1F43B": ("mammal", "face"),
    "1F43A": ("mammal", "face"),
    "1F439": ("mammal", "face"),
    "1F43D": ("mammal", "body"),  # pig nose
    "1F43E": ("mammal",),  # paw prints
    "1F577": ("insect",),
    "1F578": ("insect",),  # spider web
    "1F339": ("flower",),
    "1F384": ("holiday", "plant"),  # Christmas tree
    "1F383": ("holiday", "face"),  # jack-o-lantern
    "1F385": ("people", "holiday"),  # Santa
    "1F936": ("people", "holiday"),
    "1F9D1-200D-1F384": ("people", "holiday"),
    "1F470": ("people", "holiday", "clothing"),
    "1F382": ("dessert", "holiday"),  # birthday cake
    "1F31E": ("space", "face", "weather"),
    "1F31A": ("space", "face"),
    "1F31B": ("space", "face"),
    "1F31C": ("space", "face"),
    "1F31D": ("space", "face"),
    "1F30D": ("geography", "space"),
    "1F30E": ("geography", "space"),
    "1F30F": ("geography", "space"),
    "1F310": ("geography", "sign"),
    "1F9ED": ("tool", "geography"),  # compass
    "1F680": ("transport", "space"),
    "1F6F8": ("transport", "space"),
    "1F6F0": ("electronics", "space"),
    "1F6D6": ("building",),
    "26C4": ("weather", "holiday"),
    "2603": ("weather", "holiday"),
    "1F3B9": ("music",),
    "1F399": ("music", "electronics"),
    "1F39A": ("music", "electronics"),
    "1F39B": ("music", "electronics"),
    "1F3A7": ("music", "electronics"),
    "1F3A4": ("music", "electronics"),
    "1F4FB": ("music", "electronics"),
    "1F3BC": ("music", "sign"),
    "1F3B5": ("music", "sign"),
    "1F3B6": ("music", "sign"),
    # Unicode files these elsewhere.
    "1FAA8": ("geography",),  # rock
    "1FAB5": ("plant",),  # wood
    "1F6D1": ("sign",),  # stop sign
    "1F6A7": ("sign",),  # construction
    "1F6E2": ("household",),  # oil drum
    "1F3F9": ("sport",),  # bow and arrow
    "1F6D7": ("sign",),  # lift
    "2728": ("sign",),  # sparkles
    "1F39F": (),  # tickets
    "1F3AB": (),
    "1F321": ("tool",),  # thermometer
    "1F345": ("food",),  # tomato
    "1FAD2": ("food",),  # olive
    "1F9EE": ("office",),  # abacus
    "1F50B": ("electronics",),
    "1FAAB": ("electronics",),
    "1F50C": ("electronics",),
    "1F50D": ("tool",),
    "1F50E": ("tool",),
    "1F484": ("household",),  # lipstick
    "1F6CD": ("household",),  # shopping bags
    "1FAAE": ("household",),  # hair pick
    "2614": ("weather", "household"),
    "2602": ("weather", "household"),
    "1F302": ("household",),
    "2600": ("weather", "space"),
    **dict.fromkeys(_SPACE_EMOJI, ("space",)),
    "1F514": ("music",),
    "1F515": ("sign",),
    "1F4EF": ("music",),
    "1F56F": ("household",),  # candle
    "1F3EE": ("household",),
    "1FA94": ("household",),
    "1F4DA": ("office",),
    "1F52D": ("tool", "space"),
    "1F4E1": ("electronics", "space"),
    "1F3A8": ("office",),
    "1F5BC": ("household",),
    "1F9F5": ("household",),
    "1FAA1": ("household",),
    "1F9F6": ("household",),
    "1FAA2": ("tool",),
    "1F5FA": ("geography",),
    "26FA": ("building",),
    "1F301": ("building", "weather"),
    "1F303": ("building",),
    "1F3D9": ("building",),
    "1F304": ("geography", "weather"),
    "1F305": ("geography", "weather"),
    "1F306": ("building",),
    "1F307": ("building", "weather"),
    "1F309": ("building",),
    "26F2": ("building",),
    "1F488": ("sign",),
    "1F48C": ("office", "sign"),  # love letter
    "1FAAA": ("office",),
    "1FAA7": ("sign",),
    "1F393": ("clothing",),
    "1F48E": ("clothing",),
    "1F48D": ("clothing",),
    "1F50A": ("electronics",),
    "1F4AA": ("body",),
    "1F48B": ("body",),
    "1F463": ("body",),
    "1F5FF": ("building",),
    "1F6D2": ("household",),
    "1F9F8": ("game",),  # teddy bear
    "1FA86": ("game",),
    "1F9E9": ("game",),
    "1FA80": ("game",),
    "1FA81": ("game",),
    "1FA83": ("game", "tool"),
    "1FA85": ("game", "holiday"),
    "1F0CF": ("game",),
    "1F3AD": ("game",),
    "1F3C6": ("sport",),
    "1F38E": ("holiday", "people"),
    "1F38F": ("holiday",),
    "1F386": ("holiday",),
    "1F9C1": ("dessert",),
    "1F3F4-200D-2620-FE0F": ("flag",),
    "1F38C": ("flag",),
    "1F942": ("drink", "holiday"),
}

# Emoji of a subgroup that get a label besides by a whole word of their name.
EMOJI_WORD_LABELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("clothing", "sport"): ("running", "swimsuit", "shorts", "ice"),
    ("person-activity", "sport"): ("running", "climbing"),
    ("person-activity", "music"): ("dancing",),
    ("person-role", "space"): ("astronaut",),
    ("person-role", "music"): ("singer",),
    ("person-role", "computer"): ("technologist",),
    ("place-building", "holiday"): ("wedding",),
    ("hand-prop", "office"): ("writing",),
    ("transport-ground", "sign"): ("stop", "traffic"),
}

_WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Returns the lower-case words of texts, and the hyphenated words both whole and in parts."""
    found = set()
    for text in texts:
        for word in _WORD.findall(text.lower().replace("_", " ")):
            found.add(word)
            found.update(word.split("-"))
    return frozenset(found)


def with_implied(topics: Iterable[str]) -> list[str]:
    """Turns topics into labels, adds the implied ones and sorts by the vocabulary."""
    found = {FOLDED.get(topic, topic) for topic in topics}
    while wider := {IMPLIED[label] for label in found if label in IMPLIED} - found:
        found |= wider
    unknown = found - set(LABELS)
    if unknown:
        raise ValueError(f"labels outside the vocabulary: {sorted(unknown)}")
    return [label for label in LABELS if label in found]


def in_folder(folder: str, parent: str) -> bool:
    """Says whether a folder is `parent` or stands in it; "" holds every folder."""
    return not parent or folder == parent or folder.startswith(parent + "/")


def clipart_labels(name: str, folders: Iterable[str], words: frozenset[str]) -> list[str]:
    """Returns the labels of a clip-art picture, in the order of LABELS.

    Args:
      name: file name without folder and ending.
      folders: every folder in which the picture is filed.
      words: what `words_of` found in title, keywords and file name.
    """
    if name in LABELS_OF_SINGLE_ITEMS:
        return with_implied(LABELS_OF_SINGLE_ITEMS[name])
    folders = tuple(folders)
    labels: set[str] = set()
    for folder in folders:
        fitting = [parent for parent in FOLDER_LABELS if in_folder(folder, parent)]
        labels.update(FOLDER_LABELS[max(fitting, key=len)] if fitting else ())
    labels.update(label for label, found in WORD_LABELS.items() if words & set(found))
    for label, word, parent in REFUSED_LABELS:
        if (not word or word in words) and any(in_folder(folder, parent) for folder in folders):
            labels.discard(label)
    return with_implied(labels)


def emoji_labels(hexcode: str, subgroup: str, name: str) -> list[str]:
    """Returns the labels of an emoji, in the order of LABELS; none where no rule fits."""
    if hexcode in LABELS_OF_SINGLE_EMOJI:
        return with_implied(LABELS_OF_SINGLE_EMOJI[hexcode])
    labels = set(SUBGROUP_LABELS.get(subgroup, ()))
    words = words_of([name])
    for (group, label), found in EMOJI_WORD_LABELS.items():
        if group == subgroup and words & set(found):
            labels.add(label)
    return with_implied(labels)
