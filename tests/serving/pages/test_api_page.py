import shlex

from canned import GOOD, Canned, browser
from fastapi import FastAPI
from pydantic import BaseModel, Field

from shelfcode.serving.api.requests import SimilarRequest
from shelfcode.serving.pages.api_page import FieldRow, command, field_rows, operations, product_fields


class Leaf(BaseModel):
    name: str = Field(description="of it", examples=["oat"])
    weights: dict[str, float] = {}


class Tree(BaseModel):
    leaves: list[Leaf]
    best: Leaf | None = Field(None, description="the best of them")


def described() -> dict[str, object]:
    api = FastAPI()
    body = {"requestBody": {"content": {"application/json": {"schema": SimilarRequest.model_json_schema()}}}}

    @api.post("/v1/trees/{tree}", summary="A tree", responses={404: {"description": "no such tree"}}, openapi_extra=body)
    def grow(tree: str, limit: int = 3) -> Tree:
        raise NotImplementedError

    return api.openapi()


def test_an_operation_has_its_parameters_fields_and_errors() -> None:
    [told] = operations(described(), "http://shelf", {"tree": "a b"}, with_keys=False)
    assert (told.method, told.path, told.summary) == ("POST", "/v1/trees/{tree}", "A tree")
    assert [(each.name, each.place, each.type, each.required) for each in told.parameters] == [
        ("tree", "path", "string", True), ("limit", "query", "integer", False),
    ]  # fmt: skip
    assert told.response == (
        FieldRow("leaves", "list of object", True, ""),
        FieldRow("leaves[].name", "string", True, 'of it; such as "oat"'),
        FieldRow("leaves[].weights", "object of number", False, ""),
        FieldRow("best", "object or null", False, "the best of them"),
        FieldRow("best.name", "string", True, 'of it; such as "oat"'),
        FieldRow("best.weights", "object of number", False, ""),
    )
    assert ("404", "no such tree") in told.errors
    assert "http://shelf/v1/trees/a%20b" in told.curl


def test_a_body_with_definitions_of_its_own_is_read_too() -> None:
    [told] = operations(described(), "http://shelf", {}, with_keys=False)
    names = [row.name for row in told.request]
    assert {"item_id", "product.title", "product.attributes.key_ingredients", "min_level"} <= set(names)


def test_limits_are_told() -> None:
    schema = SimilarRequest.model_json_schema()
    told = {row.name: row.description for row in field_rows(schema, schema)}
    assert told["fields"].endswith("come back with each product; at most 32 of them")
    assert told["attributes"].endswith("at most 16 of them")
    assert told["retailer_id"].endswith("at most 1,024 characters")
    assert told["min_level"].endswith("at most 8")


def test_the_fields_of_a_product_are_told() -> None:
    assert [row.name for row in product_fields()][:4] == ["item_id", "title", "description", "brand"]


def test_a_command_is_one_that_a_shell_takes() -> None:
    words = shlex.split(command("http://shelf", "/v1/surfaces/{surface}/similar", "post", {"surface": "it's"}, with_keys=True))
    assert words[:5] == ["curl", "-s", "-H", "Authorization: Bearer YOUR_KEY", "http://shelf/v1/surfaces/it%27s/similar"]
    assert words[5] == "-d"
    assert SimilarRequest.model_validate_json(words[6]).k == 5


def test_the_page_shows_every_operation_and_where_keys_go() -> None:
    client = browser(Canned("keys"))
    answer = client.get("/docs-page", headers={"Authorization": f"Bearer {GOOD}"})
    assert answer.status_code == 200
    assert "Authorization: Bearer KEY" in answer.text
    assert 'id="product"' in answer.text
