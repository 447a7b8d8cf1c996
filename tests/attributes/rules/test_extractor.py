"""What the rules read out of a product's text, and that any text is read."""

import random
import time

import pytest
import yaml

from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR, extract, extract_batch, extract_extra
from shelfcode.attributes.rules.lexicon import LEXICON_PATH, LexiconFile, all_forms, plural, shipped_lexicon
from shelfcode.attributes.rules.words import split_words
from shelfcode.attributes.schema import DIETARY_TAGS, MAX_INGREDIENTS
from shelfcode.attributes.settings import ExtraAttribute

PRODUCTS = [
    # title, brand, product type, ingredients, tags, format
    ("Barista Oat Milk, Unsweetened, 32 fl oz Carton", None, "oat milk", ["oats"], ["no added sugar"], "carton"),
    ("Hillcrest Organic Whole Milk 1 gal", "Hillcrest", "milk", ["milk"], ["organic"], ""),
    ("Vanilla Almond Milk", None, "almond milk", ["vanilla", "almonds"], [], ""),
    ("No Stir Creamy Peanut Butter", None, "peanut butter", ["peanuts"], [], ""),
    ("Gluten-Free Penne Pasta", None, "pasta", [], ["gluten free"], ""),
    ("Tomato Basil Soup", None, "tomato basil soup", ["tomatoes", "basil"], [], ""),
    ("Condensed Tomato Soup", None, "tomato soup", ["tomatoes"], [], ""),
    ("Organic Baby Carrots", None, "carrots", ["carrots"], ["organic"], ""),
    ("Frozen Sliced Peaches", None, "peaches", ["peaches"], [], "frozen"),
    ("Greek Yogurt, Strawberry, Nonfat", None, "yogurt", ["yogurt", "strawberries"], ["fat free"], ""),
    ("Sour Cream and Onion Potato Chips", None, "potato chips", ["sour cream", "onions", "potatoes"], [], ""),
    ("Chunk Light Tuna in Water, 5 oz Can", None, "tuna", ["tuna"], [], "can"),
    ("Dark Chocolate with Sea Salt & Almonds", None, "chocolate", ["chocolate", "salt", "almonds"], [], ""),
    ("Lime Sparkling Water 12 pk Cans", None, "sparkling water", ["lime"], [], "can"),
    ("Decaf House Blend Ground Coffee", None, "coffee", ["coffee"], ["caffeine free"], "ground"),
    ("Chicken & Brown Rice Dog Food", None, "dog food", ["chicken", "rice"], [], ""),
    ("Peanut Butter Treats for Dogs", None, "dog treats", ["peanuts"], [], ""),
    ("Tear Free Baby Shampoo", None, "baby shampoo", [], [], ""),
    ("Lavender Liquid Hand Soap Refill", None, "hand soap", ["lavender"], [], "refill"),
    ("Lemon Scent Disinfecting Wipes, 75 ct", None, "disinfecting wipes", [], [], "wipes"),
    ("Ultra Soft Toilet Paper, 12 Mega Rolls", None, "toilet paper", [], [], "roll"),
    ("Tall Kitchen Trash Bags, 13 Gallon", None, "trash bags", [], [], ""),
    ("Apple Mango Dish Soap", None, "dish soap", [], [], ""),
    ("Clumping Cat Litter", None, "cat litter", [], [], ""),
    ("Vitamin C Gummies for Adults", None, "vitamin c", ["vitamin c"], [], "gummies"),
    ("Brightway Men's Trail Running Shoes, Chocolate/Lime, Size 11", "Brightway", "shoes", [], [], ""),
    ("Adjustable Aluminum Laptop Stand for Desk, Foldable, Holds 10-17 Inch Notebooks | Silver", None, "laptop stand", [], [], ""),
    ("Set of 6 Stemless Wine Glasses - 15oz - Great Gift for Wine Lovers", None, "wine glass", [], [], ""),
    ("Ergonomic Mesh Office Chair with Lumbar Support, Coffee Brown", None, "office chair", [], [], ""),
    ("Kettle & Cup Stainless Steel Electric Kettle 1.7L", "Kettle & Cup", "kettle", [], [], ""),
    ("Chopped Caesar Salad Kit", None, "salad kit", [], [], ""),
    ("Moist Cake Mix Dark Chocolate", None, "cake mix", ["chocolate"], [], ""),
    ("Non-Stick Aluminum Foil", None, "aluminum foil", [], [], ""),
    ("Beef Stroganoff", None, "beef stroganoff", ["beef"], [], ""),
]


@pytest.mark.parametrize(("title", "brand", "product_type", "ingredients", "tags", "form"), PRODUCTS, ids=[row[0] for row in PRODUCTS])
def test_products(title: str, brand: str | None, product_type: str, ingredients: list[str], tags: list[str], form: str) -> None:
    attributes = extract(title, None, brand)
    assert attributes.product_type == product_type
    assert list(attributes.key_ingredients) == ingredients
    assert list(attributes.dietary_tags) == tags
    assert attributes.format == form


@pytest.mark.parametrize(
    ("title", "absent", "tags"),
    [
        ("Nut Free Granola", "nuts", ["nut free"]),
        ("Granola without nuts", "nuts", ["nut free"]),
        ("Tree Nut Free Cookies", "nuts", []),
        ("Sugar Free Maple Syrup", "sugar", ["sugar free"]),
        ("No Sugar Added Applesauce", "sugar", ["no added sugar"]),
        ("Crackers free of gluten, dairy and eggs", "eggs", ["gluten free", "dairy free", "egg free"]),
        ("Egg, Dairy & Nut Free Cookies", "eggs", ["dairy free", "nut free", "egg free"]),
        ("Bread made without milk, eggs or soy", "milk", ["soy free", "egg free"]),
        ("Gluten-Free Cookies", "", ["gluten free"]),
        ("Deli Ham, 97% Fat Free, Sodium Free", "", ["low fat", "low sodium"]),
        ("Not vegan cookies", "", []),
        ("Non-organic oat cookies", "", []),
        ("Non-GMO corn chips", "", ["non-gmo"]),
        ("No bean chili", "beans", []),
    ],
)
def test_what_a_product_is_without(title: str, absent: str, tags: list[str]) -> None:
    attributes = extract(title, None, None)
    assert absent not in attributes.key_ingredients
    assert list(attributes.dietary_tags) == tags


def test_negation_ends_where_its_list_ends() -> None:
    assert extract("No Sugar Almond Milk", None, None).key_ingredients == ("almonds",)
    assert "chocolate" in extract("Cookies, Dark Chocolate, Nut & Gluten Free", None, None).key_ingredients
    assert "cheddar cheese" in extract("Crackers. No soy. Cheddar", None, None).key_ingredients
    assert extract("Free Range Eggs", None, None).key_ingredients == ("eggs",)


@pytest.mark.parametrize(
    "title", ["Vegetarian Fed Chicken Eggs", "Kosher Salt", "Raw Sugar", "Unscented Body Lotion", "Reduced Fat Crackers", "Free Range Eggs"]
)
def test_words_of_a_tag_are_not_the_tag(title: str) -> None:
    assert extract(title, None, None).dietary_tags == ()


@pytest.mark.parametrize("title", ["Vanilla Ice Cream", "Ginger Ale", "Root Beer Soda", "Jelly Bean Candy", "Epsom Salt"])
def test_words_of_an_ingredient_are_not_the_ingredient(title: str) -> None:
    assert not {"cream", "ginger", "beans", "salt"} & set(extract(title, None, None).key_ingredients)


def test_description_gives_ingredients_only_where_it_says_what_is_inside() -> None:
    served = extract("Pita Chips", "Perfect with hummus, olives and salmon.", None)
    assert served.key_ingredients == ()
    made = extract("Pita Chips", "Made with whole wheat, olive oil and sea salt. Perfect with hummus.", None)
    assert made.key_ingredients == ("wheat", "olive oil", "salt")
    listed = extract("Pita Chips", "Try them with salmon.\nIngredients: wheat flour, sunflower oil, garlic", None)
    assert listed.key_ingredients == ("wheat", "sunflower oil", "garlic")


def test_description_gives_tags_but_neither_type_nor_format() -> None:
    attributes = extract("Pita Chips", "These vegan, kosher crackers contain no dairy and come in a box.", None)
    assert attributes.dietary_tags == ("vegan", "dairy free", "kosher")
    assert (attributes.product_type, attributes.format) == ("pita chips", "")


def test_nothing_edible_is_read_out_of_what_is_not_consumed() -> None:
    attributes = extract("Women's Slipper, Chestnut", "Organic cotton, vegan. Made with coconut shell buttons.", None)
    assert (attributes.key_ingredients, attributes.dietary_tags) == ((), ())


def test_brand_is_no_part_of_the_attributes() -> None:
    assert extract("Apple Hill Crackers", None, "Apple Hill").key_ingredients == ()
    assert extract("Honey Pot", None, "Honey Pot").product_type


@pytest.mark.parametrize(
    ("title", "product_type"),
    [
        ("Premium Delicious Zorblax 12 oz", "zorblax"),
        ("Light Grey", "light grey"),
        ("409", "409"),
        ("!" * 3000 + "tofu", "tofu"),
        ("有機豆腐", "有機豆腐"),
        ("Сыр Российский", "сыр россиискии"),
        ("Crème fraîche", "heavy cream"),
        ("🍎🍎", ""),
        ("", ""),
    ],
)
def test_titles_without_a_known_kind(title: str, product_type: str) -> None:
    assert extract(title, None, None).product_type == product_type


HOSTILE = [
    *("", " ", "\x00", "a\x00b", "(((((", "- - -", "1", "\ud800", "🥑🥑 guacamole 🥑", "مرحبا بالعالم", "有機豆腐"),
    *("vegan " * 20_000, "x" * 100_000, "no " * 33_000, "free " * 20_000, "no milk, " * 11_000, "milk & " * 14_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_read_without_error(text: str) -> None:
    for attributes in (extract(text, text, text), extract("Vegan oat cookies", text, text), extract(text, None, None)):
        assert set(attributes.dietary_tags) <= set(DIETARY_TAGS)


def _occurs(form: str, text: str) -> bool:
    return f" {' '.join(split_words(form))} " in f" {' '.join(split_words(text))} "


def test_what_is_returned_is_in_the_text() -> None:
    """Over random texts that mix known phrases, negators and other words."""
    lexicon = shipped_lexicon()
    rng = random.Random(7)
    phrases = [form for forms in lexicon.ingredient_forms.values() for form in forms]
    glue = ["with", "and", "&", ",", ".", "free", "no", "without", "organic", "vegan", "gluten", "nut", "made", "from", "ingredients", ":"]
    found = 0
    for _ in range(600):
        title = " ".join(rng.choice(phrases if rng.random() < 0.4 else glue) for _ in range(rng.randint(1, 12)))
        description = " ".join(rng.choice(phrases if rng.random() < 0.3 else glue) for _ in range(rng.randint(0, 60)))
        attributes = extract(title, description, None)
        for name in attributes.key_ingredients:
            assert any(_occurs(form, f"{title} . {description}") for form in lexicon.ingredient_forms[name]), (name, title, description)
        assert len(attributes.key_ingredients) <= MAX_INGREDIENTS
        assert len(set(attributes.key_ingredients)) == len(attributes.key_ingredients)
        assert attributes.dietary_tags == tuple(tag for tag in DIETARY_TAGS if tag in attributes.dietary_tags)
        assert attributes.product_type or not any(letter.isalpha() for letter in title)
        found += len(attributes.key_ingredients)
    assert found > 600


def test_every_ingredient_is_found_by_each_of_its_forms() -> None:
    lexicon = shipped_lexicon()
    for name, forms in lexicon.ingredient_forms.items():
        for form in forms:
            assert [match.value for match in lexicon.ingredients.find(split_words(form))] == [name], form


def test_batch_is_each_product_in_turn() -> None:
    titles, descriptions, brands = ["Oat Milk", "Salsa"], [None, "Made with tomatoes"], ["Zed", None]
    assert extract_batch(titles, descriptions, brands) == [extract(*row) for row in zip(titles, descriptions, brands, strict=True)]
    assert extract_batch([], [], []) == []
    with pytest.raises(ValueError, match="shorter"):
        extract_batch(titles, descriptions, ["Zed"])


def test_extractor_name() -> None:
    assert RULES_EXTRACTOR == "rules-v1"


@pytest.mark.parametrize(
    ("form", "expected"),
    [("oat", "oats"), ("cherry", "cherries"), ("turkey", "turkeys"), ("peach", "peaches"), ("tomato", "tomatoes"), ("oats", "oats")],
)
def test_regular_plurals(form: str, expected: str) -> None:
    assert plural(form) == expected


def test_a_form_under_two_names_is_refused() -> None:
    with pytest.raises(ValueError, match="maize"):
        all_forms([{"corn": ["maize"], "hominy": ["maize"]}])


def test_an_unknown_part_of_a_lexicon_is_refused() -> None:
    parts = yaml.safe_load(LEXICON_PATH.read_text(encoding="utf-8"))
    LexiconFile.model_validate(parts)
    with pytest.raises(ValueError, match="aisles"):
        LexiconFile.model_validate(parts | {"aisles": []})
    with pytest.raises(ValueError, match="crunchy"):
        LexiconFile.model_validate(parts | {"tag_phrases": {"crunchy": ["crunchy"]}})
    with pytest.raises(ValueError, match="crunchy"):
        LexiconFile.model_validate(parts | {"supporting_phrases": {"crunchy": ["crunchy"]}})
    with pytest.raises(ValueError, match="grey matter"):
        LexiconFile.model_validate(parts | {"narrow_forms": ["grey matter"]})


def test_speed_is_linear_in_the_text() -> None:
    """Generous bounds, a hundredth of what one idle core does: they catch a pattern that backtracks, not a slow machine."""
    titles = ["Organic Oat & Honey Granola Bars, Gluten Free, 12 ct"] * 1000
    description = ("Made with whole grain oats, almonds and honey, no artificial flavors, nut free. " * 13)[:1000]
    started = time.process_time()
    extract_batch(titles, [None] * 1000, [None] * 1000)
    assert time.process_time() - started < 15
    started = time.process_time()
    extract_batch(titles[:200], [description] * 200, [None] * 200)
    assert time.process_time() - started < 15


# A recipe's extra attributes: those values of a closed list that the text names


def values(title: str, description: str | None = None, *, known: list[str], limit: int = 3) -> tuple[str, ...]:
    return extract_extra(title, description, {"extra": ExtraAttribute(description="d", values=known, limit=limit)})["extra"]


@pytest.mark.parametrize(
    ("title", "description", "found"),
    [
        ("Pizza-Night Dough", None, ("pizza night",)),
        ("Dough", "For breakfast, and for PIZZA NIGHT.", ("breakfast", "pizza night")),
        ("Breakfast Dough for pizza night", "Breakfast!", ("breakfast", "pizza night")),
        ("Pizza for the night", None, ()),
        ("Breakfasts", None, ()),
        ("Pizza", "Night cream", ()),
        ("", None, ()),
        ("🍕 pizza night 🍕", "", ("pizza night",)),
    ],
)
def test_values_come_in_the_order_in_which_the_text_names_them(title: str, description: str | None, found: tuple[str, ...]) -> None:
    assert values(title, description, known=["pizza night", "breakfast"]) == found


def test_the_longest_of_two_values_is_meant() -> None:
    assert values("dark chocolate bar", known=["chocolate", "dark chocolate"]) == ("dark chocolate",)


def test_no_more_values_are_found_than_the_limit() -> None:
    assert values("c b a", known=["a", "b", "c"], limit=2) == ("c", "b")


def test_a_value_in_another_language_is_found_with_and_without_its_accents() -> None:
    assert values("Crème fraîche", known=["crème"]) == values("creme fraiche", known=["crème"]) == ("crème",)


def test_a_value_without_a_word_is_never_found() -> None:
    assert values("🥜 bar!", known=["🥜", "bar"]) == ("bar",)


def test_an_attribute_without_a_closed_list_stays_empty_and_each_has_values_of_its_own() -> None:
    extra = {
        "mood": ExtraAttribute(description="how it is praised"),
        "meal": ExtraAttribute(description="when it is eaten", values=["breakfast"]),
        "room": ExtraAttribute(description="where it is used", values=["kitchen"]),
    }
    assert extract_extra("Cosy breakfast kitchen", None, extra) == {"mood": (), "meal": ("breakfast",), "room": ("kitchen",)}


def test_no_extra_attributes_have_no_values() -> None:
    assert extract_extra("Breakfast", None, {}) == {}
