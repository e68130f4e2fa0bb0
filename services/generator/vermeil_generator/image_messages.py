"""The contract's messages of pictures ↔ what the generator works with."""

from collections.abc import Callable
from dataclasses import dataclass

from vermeil.content.v1.content_pb2 import Part
from vermeil.generation.v1 import generation_pb2 as wire
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesRequest, GenerateImagesResponse
from vermeil_media import Pixels

from vermeil_generator.image_ask import ImageAsk, ImageSampling
from vermeil_generator.image_order import ImageOrder
from vermeil_generator.loaded_image import LoadedImageModel
from vermeil_generator.painter import ImageEvent, Progress

AsPart = Callable[[Pixels, bool], Part]
"""A picture as a part of content; a preview if True."""


def image_ask_from_message(request: GenerateImagesRequest) -> ImageAsk:
    """What is asked for; a field that is out of range is refused by name."""
    given = {field.name: value for field, value in request.sampling.ListFields()}
    return ImageAsk(
        model=request.model,
        prompt=request.prompt,
        class_number=request.class_number if request.HasField("class_number") else None,
        num_images=request.num_images or 1,
        sampling=ImageSampling(**given),
        width=request.width,
        height=request.height,
        num_previews=request.num_previews,
        as_artifacts=request.as_artifacts,
    )


@dataclass
class Telling:
    """The messages of one order: the first names the model, the last counts what was read and drawn."""

    model: LoadedImageModel
    order: ImageOrder
    as_part: AsPart
    num_told: int = 0
    num_drawn: int = 0

    def tell(self, event: ImageEvent) -> GenerateImagesResponse:
        """What happened."""
        message = self._told(event)
        if self.num_told == 0:
            message.model = self.model.name
        self.num_told += 1
        return message

    def _told(self, event: ImageEvent) -> GenerateImagesResponse:
        if isinstance(event, Progress):
            progress = wire.ImageProgress(steps_done=event.steps_done, steps_total=event.steps_total)
            return GenerateImagesResponse(progress=progress)
        height, width = event.pixels.shape[:2]
        image = wire.GeneratedImage(
            index=event.index,
            part=self.as_part(event.pixels, event.preview is not None),
            seed=event.seed,
            width=width,
            height=height,
        )
        if event.preview is not None:
            return GenerateImagesResponse(preview=wire.ImagePreview(number=event.preview, image=image))
        self.num_drawn += 1
        message = GenerateImagesResponse(image=image)
        if self.num_drawn == len(self.order.wishes):
            num_patches = self.model.config.num_patches * len(self.order.wishes)
            message.usage.CopyFrom(
                wire.ImageUsage(prompt_tokens=self.order.num_prompt_tokens, image_patches=num_patches)
            )
        return message
