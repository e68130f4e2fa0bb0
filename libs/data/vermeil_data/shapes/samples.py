"""Scenes as samples: pictures with captions to generate from, or with questions to answer."""

from collections.abc import Iterator

from vermeil_media import encode_png

from vermeil_data.sample import Sample, Segment
from vermeil_data.shapes.render import SIDE, render
from vermeil_data.shapes.scene import random_scene
from vermeil_data.shapes.words import captions, questions

_PNG = "image/png"


def shape_samples(count: int, seed: int = 0, side: int = SIDE, *, start: int = 0) -> Iterator[Sample]:
    """Pictures of `side` pixels with their captions; metadata["scene"] is what is in them.

    `start` is the number of the first, so that many can be made in parts.
    """
    for number in range(start, start + count):
        scene = random_scene(seed, number)
        yield Sample.of_image(
            encode_png(render(scene, side)),
            _PNG,
            captions(scene),
            id=f"shapes/{seed}/{number:06d}.png",
            metadata={"scene": scene.to_text()},
        )


def question_samples(count: int, seed: int = 0, side: int = SIDE) -> Iterator[Sample]:
    """The same pictures with one sample a question: picture and question given, the answer to be learned."""
    for number in range(count):
        scene = random_scene(seed, number)
        picture = Segment("image", "given", data=encode_png(render(scene, side)), media_type=_PNG)
        for index, question in enumerate(questions(scene, seed, number)):
            segments = (
                picture,
                Segment("text", "given", text=question.text),
                Segment("text", text=question.answer),
            )
            yield Sample(segments, f"shapes/{seed}/{number:06d}.png#{index + 1}", {"scene": scene.to_text()})
