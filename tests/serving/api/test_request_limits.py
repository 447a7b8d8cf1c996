"""Every text and every list that a caller can send has a limit, whichever request it stands in."""

import pytest
from boundless import boundless
from pydantic import BaseModel

from shelfcode.serving.api.requests import Body, EncodeRequest, Product, SimilarRequest
from shelfcode.serving.pages.page_query import PageQuery
from shelfcode.serving.review import requests as review

REVIEW = [each for each in vars(review).values() if isinstance(each, type) and issubclass(each, Body) and each is not Body]


@pytest.mark.parametrize("request_model", [EncodeRequest, SimilarRequest, Product, PageQuery, *REVIEW])
def test_every_text_list_and_mapping_of_a_request_has_a_limit(request_model: type[BaseModel]) -> None:
    assert list(boundless(request_model.model_json_schema(), request_model.__name__)) == []


def test_what_has_no_limit_is_found() -> None:
    class Careless(BaseModel):
        names: list[str]
        values: dict[str, int]

    assert len(list(boundless(Careless.model_json_schema()))) == 3
